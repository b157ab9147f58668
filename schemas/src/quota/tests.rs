use super::*;
use proptest::prelude::*;

fn quota(text: &str) -> Quota {
    text.parse().unwrap()
}

#[test]
fn quotas_are_read_and_printed() {
    for (text, meaning, printed) in [
        ("8", Quota::count(8), "8"),
        ("80", Quota::count(80), "80"),
        ("4294967295", Quota::count(u32::MAX), "4294967295"),
        ("80%", Quota::percent(8_000), "80%"),
        ("33.34%", Quota::percent(3_334), "33.34%"),
        ("33.3%", Quota::percent(3_330), "33.3%"),
        ("33.30%", Quota::percent(3_330), "33.3%"),
        ("33.04%", Quota::percent(3_304), "33.04%"),
        ("1%", Quota::percent(100), "1%"),
        ("100%", Ok(Quota::ALL), "100%"),
        ("100.00%", Ok(Quota::ALL), "100%"),
    ] {
        assert_eq!(text.parse::<Quota>(), meaning, "{text}");
        assert_eq!(quota(text).to_string(), printed);
    }
}

#[test]
fn what_is_no_quota_is_refused() {
    let shape = "expected percent 1..100 such as \"80%\", or count 1..hosts such as 8; got ";
    let bounds = "percent must be 1..100; got ";
    let large = "count is too large; got ";
    for (text, error) in [
        ("", shape),
        ("%", shape),
        ("-1%", shape),
        ("+5", shape),
        ("-5", shape),
        ("NaN", shape),
        ("NaN%", shape),
        ("inf", shape),
        ("1e400", shape),
        ("1e1%", shape),
        ("all", shape),
        ("80 %", shape),
        (" 80%", shape),
        ("80%%", shape),
        ("80.%", shape),
        (".5%", shape),
        ("8.0", shape),
        ("08", shape),
        ("08%", shape),
        ("٨٠%", shape),
        ("８", shape),
        ("1.2.3%", shape),
        ("33.333%", "percent may have at most 2 decimals; got "),
        ("0.5%", bounds),
        ("0.99%", bounds),
        ("101%", bounds),
        ("100.01%", bounds),
        ("4294967296%", bounds),
        ("99999999%", bounds),
        ("4294967296", large),
        ("9223372036854775808", large),
        ("0", "count must be >= 1"),
        ("0%", "0% would always succeed"),
        ("0.00%", "0% would always succeed"),
    ] {
        let given = text.parse::<Quota>().unwrap_err().to_string();
        assert!(given.starts_with(error), "{text}: {given}");
        assert!(given.is_ascii(), "{given}");
    }
    assert_eq!(Quota::percent(50).unwrap_err().to_string(), "percent must be 1..100; got \"0.5%\"");
}

#[test]
fn thresholds_are_rounded_up_and_windows_down() {
    for (text, total, needed, window) in [
        ("80%", 9, 8, 7),
        ("80%", 10, 8, 8),
        ("80%", 1, 1, 1),
        ("33.33%", 3, 1, 1),
        ("33.33%", 9, 3, 2),
        ("33.34%", 3, 2, 1),
        ("50%", 101, 51, 50),
        ("1%", 10, 1, 1),
        ("100%", 116, 116, 116),
        ("100%", u32::MAX, u32::MAX, u32::MAX),
        ("8", 10, 8, 8),
        ("12", 10, 12, 10),
        ("5", 0, 5, 1),
        ("80%", 0, 1, 1),
    ] {
        assert_eq!((quota(text).needed(total), quota(text).window(total)), (needed, window), "{text} of {total}");
    }
}

#[test]
fn a_threshold_above_the_targets_is_refused() {
    assert_eq!(quota("12").check(10).unwrap_err().to_string(), "needs 12 of 10");
    assert_eq!(quota("80%").check(0).unwrap_err().to_string(), "needs 1 of 0");
    assert!(quota("10").check(10).is_ok() && Quota::ALL.check(1).is_ok());
}

#[test]
fn counts_are_integers_and_percentages_strings_in_json() {
    for (json, meaning, written) in [
        ("8", "8", "8"),
        ("\"8\"", "8", "8"),
        ("80", "80", "80"),
        ("\"80%\"", "80%", "\"80%\""),
        ("\"33.30%\"", "33.3%", "\"33.3%\""),
    ] {
        let read: Quota = serde_json::from_str(json).unwrap();
        assert_eq!((read, serde_json::to_string(&read).unwrap().as_str()), (quota(meaning), written));
    }
    for (json, error) in [
        ("0", "count must be >= 1"),
        ("-5", "count must be >= 1; got -5"),
        ("9223372036854775808", "count is too large; got \"9223372036854775808\""),
        ("1e400", "number out of range"),
        (
            "0.8",
            "invalid type: floating point `0.8`, expected percent 1..100 such as \"80%\", or count 1..hosts such as 8",
        ),
        ("8.0", "invalid type: floating point `8.0`"),
        ("true", "invalid type: boolean `true`, expected percent 1..100"),
        ("null", "invalid type: null, expected percent"),
        ("\"101%\"", "percent must be 1..100; got \"101%\""),
    ] {
        let given = serde_json::from_str::<Quota>(json).unwrap_err().to_string();
        assert!(given.starts_with(error), "{json}: {given}");
    }
}

proptest! {
    #[test]
    fn shares_are_exact(hundredths in 100_u32..=WHOLE, total in any::<u32>()) {
        let quota = Quota::percent(hundredths).unwrap();
        let (exact, whole) = (i128::from(total) * i128::from(hundredths), i128::from(WHOLE));
        let (needed, window) = (i128::from(quota.needed(total)), i128::from(quota.window(total)));
        prop_assert_eq!(needed, ((exact + whole - 1) / whole).max(1));
        prop_assert_eq!(window, (exact / whole).max(1));
        prop_assert!(window <= needed && needed <= i128::from(total.max(1)));
        prop_assert_eq!(quota.to_string().parse::<Quota>(), Ok(quota));
    }

    #[test]
    fn counts_read_back(count in 1_u32.., total in any::<u32>()) {
        let quota = Quota::count(count).unwrap();
        prop_assert_eq!((quota.needed(total), quota.window(total)), (count, count.min(total).max(1)));
        prop_assert_eq!(quota.to_string().parse::<Quota>(), Ok(quota));
    }

    #[test]
    fn no_text_panics(text in "\\PC*|[0-9.%+-]{0,12}") {
        if let Ok(quota) = text.parse::<Quota>() {
            prop_assert_eq!(quota.to_string().parse::<Quota>(), Ok(quota));
        }
    }
}
