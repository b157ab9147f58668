use super::*;

/// What a connection comes to, in one line; paths without the directory of the test.
fn shown(options: &ConnectOptions, dir: &str) -> String {
    let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string().replace(dir, "~"));
    let text = |text: &Option<String>| text.clone();
    let client = options.tls.client.as_ref().map(|client| client.key.display().to_string().replace(dir, "~"));
    let jwt = options.jwt.as_ref().map(|jwt| format!("{}/{}", jwt.jwt, jwt.seed.as_deref().unwrap_or("-")));
    let parts = [
        ("creds", path(&options.creds)),
        ("jwt", jwt),
        ("nkey", path(&options.nkey)),
        ("user", text(&options.user)),
        ("password", text(&options.password)),
        ("token", text(&options.token)),
        ("ca", path(&options.tls.ca)),
        ("key", client),
        ("first", (options.tls.first == TlsFirst::Yes).then(String::new)),
        ("inbox", text(&options.inbox_prefix)),
        ("api", text(&options.api_prefix)),
    ];
    let given = parts.into_iter().filter_map(|(key, value)| Some(format!(" {key}={}", value?)));
    std::iter::once(options.server.clone()).chain(given).collect()
}

fn said(yaml: &str) -> Said {
    serde_saphyr::from_str(yaml).unwrap()
}

/// Contexts `prod`, `lab` and more in a home of their own; what a connection of these sources comes to.
fn of(nats_context: &str, sources: &[&str]) -> Result<Option<String>, String> {
    let home = tempfile::tempdir().unwrap();
    let contexts = home.path().join(".config/nats/context");
    std::fs::create_dir_all(&contexts).unwrap();
    for (name, text) in [
        ("prod", r#"{"description": "x", "url": "tls://prod:4222", "creds": "~/prod.creds", "inbox_prefix": "_P"}"#),
        ("lab", r#"{"url": "lab1,lab2", "user": "u", "password": "p", "ca": "/ca.pem", "tls_first": true, "new": 1}"#),
        ("bare", "{}"),
        ("edge", r#"{"url": "leaf", "jetstream_domain": "hub", "token": "t", "cert": "/c", "key": "~/k"}"#),
        ("far", r#"{"jetstream_api_prefix": "JS.far", "user_jwt": "ey", "user_seed": "SU"}"#),
        ("bearer", r#"{"user_jwt": "ey"}"#),
        ("key", r#"{"nkey": "/seed"}"#),
        ("nsc", r#"{"nsc": "nsc://o/a/u"}"#),
        ("socks", r#"{"socks_proxy": "h:1"}"#),
        ("half", r#"{"cert": "/c"}"#),
        ("broken", "{\n\"url\": 5}"),
    ] {
        std::fs::write(contexts.join(format!("{name}.json")), text).unwrap();
    }
    std::fs::write(home.path().join(".config/nats/context.txt"), "prod").unwrap();
    let dir = home.path().display().to_string();
    let environment: Environment = [("HOME", dir.as_str()), ("NATS_CONTEXT", nats_context)].into_iter().collect();
    let sources: Vec<Said> = sources.iter().map(|yaml| said(yaml)).collect();
    match Connection::of(&sources, &environment) {
        Ok(connection) => Ok(connection.map(|connection| shown(&connection.options("x".to_owned()), &dir))),
        Err(error) => {
            assert_eq!(error.exit(), Exit::Config, "{error}");
            let CliError::Told { text, hint, .. } = error else { unreachable!() };
            Err(format!("{text}; {}", hint.unwrap_or_default()).replace(&dir, "~"))
        }
    }
}

#[test]
fn the_nearest_word_wins_and_a_context_stands_for_all_that_it_describes() {
    let prod = "tls://prod:4222 creds=~/prod.creds inbox=_P";
    let lab = "nats://lab1,nats://lab2 user=u password=p ca=/ca.pem first=";
    let file = "{server: 'nats://file', user: f, password: g, inbox-prefix: _F}";
    for (nats_context, sources, expected) in [
        // A context that is only selected for the NATS CLI does not count.
        ("", &["{}", "{}", "{}"][..], None),
        ("", &["{creds: /c}"][..], None),
        ("prod", &["{}"][..], Some(prod)),
        ("lab", &["{}", "{context: prod}"][..], Some(prod)),
        // What is said to rr counts more than the shell's context.
        ("prod", &[file][..], Some("nats://file user=f password=g inbox=_F")),
        ("", &["{context: lab}"][..], Some(lab)),
        ("", &[file, "{context: lab}"][..], Some(lab)),
        ("", &["{context: lab}", "{server: x}"][..], Some("nats://x user=u password=p ca=/ca.pem first=")),
        ("", &["{context: lab}", "{server: 'a:b@x'}"][..], Some("nats://a:b@x ca=/ca.pem first=")),
        ("", &["{context: lab}", "{creds: /c}"][..], Some("nats://lab1,nats://lab2 creds=/c ca=/ca.pem first=")),
        ("", &["{context: lab, server: x, tls-first: false}"][..], Some("nats://x user=u password=p ca=/ca.pem")),
        ("prod", &["{nkey: /n}"][..], Some("tls://prod:4222 nkey=/n inbox=_P")),
        ("", &[file, "{password: h}"][..], Some("nats://file user=f password=h inbox=_F")),
        ("", &[file, "{token: t}"][..], Some("nats://file token=t inbox=_F")),
        (
            "",
            &[file, "{server: z}", "{js-domain: hub}"][..],
            Some("nats://z user=f password=g inbox=_F api=$JS.hub.API"),
        ),
        ("", &["{server: h}", "{tls-cert: /c}", "{tls-key: /k, tls-ca: /a}"][..], Some("nats://h ca=/a key=/k")),
    ] {
        assert_eq!(of(nats_context, sources), Ok(expected.map(str::to_owned)), "{nats_context} {sources:?}");
    }
}

#[test]
fn contexts_are_read_as_the_nats_cli_has_them() {
    for (context, expected) in [
        ("bare", "nats://127.0.0.1:4222"),
        ("edge", "nats://leaf token=t key=~/k api=$JS.hub.API"),
        ("far", "nats://127.0.0.1:4222 jwt=ey/SU api=JS.far"),
        ("bearer", "nats://127.0.0.1:4222 jwt=ey/-"),
        ("key", "nats://127.0.0.1:4222 nkey=/seed"),
    ] {
        assert_eq!(of(context, &[]), Ok(Some(expected.to_owned())), "{context}");
    }
}

#[test]
fn what_cannot_be_meant_is_told_with_what_to_do() {
    for (source, says) in [
        ("{context: pord}", "there is no NATS context \"pord\"; did you mean \"prod\"?"),
        ("{context: elsewhere}", "there is no NATS context \"elsewhere\"; there are: bare, bearer, broken, edge"),
        ("{context: ../context/prod}", "there is no NATS context"),
        ("{context: nsc}", "uses nsc, which rr cannot do; write the credentials to a file"),
        ("{context: socks}", "uses socks_proxy"),
        ("{context: half}", "belong together; give both --tls-cert and --tls-key"),
        (
            "{context: broken}",
            "~/.config/nats/context/broken.json: invalid type: integer `5`, expected a string at line 2",
        ),
        ("{server: h, creds: /c, nkey: /n}", "creds and nkey are two logins"),
        ("{server: h, tls-key: /k}", "belong together"),
        ("{server: h, inbox-prefix: 'a.>'}", "inbox prefix \"a.>\""),
        ("{server: h, js-domain: 'a b'}", "JetStream domain"),
        ("{server: 'http://h'}", "http:// is no scheme of NATS"),
    ] {
        let told = of("", &[source]).unwrap_err();
        assert!(told.contains(says), "{source}: {told}");
    }
    let none = Environment::default();
    assert!(Connection::of(&[said("{context: x}")], &none).is_err());
}

#[test]
fn addresses_are_shown_without_credentials() {
    for (server, shown) in [
        ("nats://u:p@h:1", "nats://h:1"),
        ("nats://h:1", "nats://h:1"),
        ("u:p@h", "h"),
        ("nats://u:p@a:1,tls://u:p@b:2", "nats://a:1,tls://b:2"),
    ] {
        assert_eq!(without_user(server), shown);
    }
}

#[test]
fn only_schemes_of_nats_are_taken() {
    assert_eq!(with_scheme("h:4222").unwrap(), "nats://h:4222");
    assert_eq!(with_scheme("tls://h,nats://i").unwrap(), "tls://h,nats://i");
    for server in ["http://h", "ws://h", "nats://a,ftp://b", "nats:///x://y"] {
        if let Err(error) = with_scheme(server) {
            assert_eq!(error.exit(), Exit::Config, "{server}");
        }
    }
    assert!(with_scheme("http://h").is_err());
}
