use super::*;

#[test]
fn every_place_is_one_of_the_command_line() {
    for shell in Shell::value_variants() {
        let known = Known::new(&[], Environment::default());
        command(*shell, known).debug_assert();
    }
}

#[test]
fn only_a_question_is_one() {
    let bash: Environment = [(VARIABLE, "bash")].into_iter().collect();
    let other: Environment = [(VARIABLE, "csh")].into_iter().collect();
    for (args, environment, is_asked) in [
        (&["rr", "--", "rr", ""][..], &bash, true),
        (&["rr", "--"], &bash, false),
        (&["rr", "ls"], &bash, false),
        (&["rr", "--", "rr", ""], &other, false),
        (&["rr", "--", "rr", ""], &Environment::default(), false),
    ] {
        let args: Vec<OsString> = args.iter().map(OsString::from).collect();
        assert_eq!(asked(&args, environment).is_some(), is_asked, "{args:?}");
    }
}
