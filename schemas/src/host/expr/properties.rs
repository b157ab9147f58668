use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

fn set(text: &str) -> HostSet {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn bracket() -> impl Strategy<Value = String> {
    let item = prop_oneof![
        (0_u32..120).prop_map(|number| number.to_string()),
        (0_u32..120, 1_u32..4).prop_map(|(first, more)| format!("{first}-{}", first + more)),
        (0_u32..95, 1_u32..4).prop_map(|(first, more)| format!("{first:03}-{:03}", first + more)),
    ];
    prop::collection::vec(item, 1..4).prop_map(|items| format!("[{}]", items.join(",")))
}

fn expression() -> impl Strategy<Value = String> {
    let pattern = prop_oneof![
        "[a-z]{1,2}[0-9]{0,3}(\\.[a-z][0-9]?)?",
        ("[a-c]?", bracket(), "(-n|n|\\.x)?", prop::option::of(bracket())).prop_map(
            |(head, one, middle, two)| format!("{head}{one}{middle}{}", two.unwrap_or_else(|| "z".to_owned()))
        ),
        "10\\.0\\.0\\.[1-9]",
        "fe80::[1-9a-f]",
    ];
    prop::collection::vec(pattern, 1..4).prop_map(|patterns| patterns.join(","))
}

proptest! {
    #[test]
    fn what_is_printed_reads_back_as_it_was(text in expression()) {
        let set = set(&text);
        prop_assert_eq!(set.to_string().parse::<HostSet>(), Ok(set.clone()));
        prop_assert_eq!(set.to_string(), text);
    }

    #[test]
    fn every_way_to_a_host_agrees(text in expression()) {
        let set = set(&text);
        let all: Vec<Host> = set.iter().collect();
        prop_assert_eq!(all.len(), set.len() as usize);
        prop_assert_eq!(set.nth(set.len()), None);
        for (index, host) in all.iter().enumerate() {
            prop_assert_eq!(set.nth(u32::try_from(index).unwrap()), Some(host.clone()));
            prop_assert!(set.contains(host));
            // What a pattern names is a host by the host's own rules, in its one spelling.
            prop_assert_eq!(host.as_str().parse::<Host>(), Ok(host.clone()));
        }
        for stranger in ["a1", "b07", "c007", "10.0.0.5", "fe80::5", "a1n1", "zz", "a1-n2"] {
            let stranger: Host = stranger.parse().unwrap();
            prop_assert_eq!(set.contains(&stranger), all.contains(&stranger));
        }
        prop_assert!(HostSet::from_hosts(&all).unwrap().iter().eq(all));
    }

    #[test]
    fn folding_keeps_the_hosts(text in expression()) {
        let all: Vec<Host> = set(&text).iter().collect();
        let folded = set(&fold(&all));
        let distinct: BTreeSet<Host> = all.iter().cloned().collect();
        prop_assert_eq!(folded.iter().collect::<BTreeSet<Host>>(), distinct.clone());
        prop_assert_eq!(folded.len() as usize, distinct.len());
        // The order of the input does not matter.
        prop_assert_eq!(fold(&all.into_iter().rev().collect::<Vec<_>>()), folded.to_string());
    }

    #[test]
    fn merging_keeps_the_first_of_each(text in expression()) {
        let all = set(&text);
        let (merged, n_left_out) = all.merged();
        let mut seen = BTreeSet::new();
        let firsts: Vec<Host> = all.iter().filter(|host| seen.insert(host.clone())).collect();
        prop_assert_eq!(merged.iter().collect::<Vec<_>>(), firsts);
        prop_assert_eq!(merged.len() + n_left_out, all.len());
    }

    #[test]
    fn no_text_panics_and_faults_lie_inside(text in "\\PC{0,40}|[\\[\\]0-9a-b,.: -]{0,24}|db\\[[0-9,-]{0,10}\\]?") {
        match text.parse::<HostSet>() {
            Ok(set) => {
                prop_assert_eq!(set.to_string().parse::<HostSet>(), Ok(set.clone()));
                prop_assert!(set.nth(0).is_some() && set.nth(set.len() - 1).is_some());
            }
            Err(error) => {
                prop_assert!(text.get(error.span.clone()).is_some(), "{:?}", error);
                prop_assert!(error.to_string().is_ascii());
            }
        }
    }

    /// The two probes stand for all expansions.
    #[test]
    fn a_quad_is_taken_exactly_when_all_its_hosts_are(octet in "[0-9]{0,2}(\\[[0-9]{1,3}(-[0-9]{1,3})?(,[0-9]{1,3})?\\]){1,2}[0-9]?") {
        let by_name = format!("x{octet}").parse::<HostSet>();
        let by_quad = format!("10.0.0.{octet}").parse::<HostSet>();
        if let Ok(by_name) = by_name {
            let all_are = by_name.iter().take(4_000).all(|host| format!("10.0.0.{}", &host.as_str()[1..]).parse::<Host>().is_ok());
            prop_assert_eq!(by_quad.is_ok(), all_are);
        }
    }
}
