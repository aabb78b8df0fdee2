use super::*;

fn schedule(cron: &str, zone: &str) -> Schedule {
    let options = ScheduleOptions {
        cron: cron.into(),
        timezone: Some(zone.into()),
        overlap: Overlap::Skip,
        jitter: HumanDuration::default(),
    };
    Schedule::new(&options).unwrap()
}

fn next(cron: &str, zone: &str, after: &str, n: usize) -> Vec<String> {
    let after = after.parse::<DateTime<Utc>>().unwrap();
    schedule(cron, zone).next(after, n).iter().map(DateTime::to_rfc3339).collect()
}

fn refused(cron: &str) -> (String, Option<String>) {
    let error = Cron::parse(cron).unwrap_err();
    (error.to_string(), error.help())
}

#[test]
fn every_night() {
    assert_eq!(
        next("30 2 * * *", "UTC", "2025-01-01T02:30:00Z", 2),
        ["2025-01-02T02:30:00+00:00", "2025-01-03T02:30:00+00:00"]
    );
}

#[test]
fn a_run_inside_a_gap_runs_once_right_after_it() {
    // Berlin, 30 March 2025: 02:00 to 03:00 does not exist.
    assert_eq!(
        next("30 2 * * *", "Europe/Berlin", "2025-03-29T12:00:00Z", 2),
        ["2025-03-30T03:00:00+02:00", "2025-03-31T02:30:00+02:00"]
    );
    assert_eq!(
        next("*/15 2 * * *", "Europe/Berlin", "2025-03-30T00:00:00Z", 2),
        ["2025-03-30T03:00:00+02:00", "2025-03-31T02:00:00+02:00"]
    );
    assert_eq!(
        next("*/30 * * * *", "Europe/Berlin", "2025-03-30T00:59:00Z", 3),
        ["2025-03-30T03:00:00+02:00", "2025-03-30T03:30:00+02:00", "2025-03-30T04:00:00+02:00"]
    );
    // Right after the moment itself the next one is a day later.
    assert_eq!(next("30 2 * * *", "Europe/Berlin", "2025-03-30T01:00:00Z", 1), ["2025-03-31T02:30:00+02:00"]);
}

#[test]
fn a_run_inside_an_overlap_runs_once() {
    // Berlin, 26 October 2025: 02:00 to 03:00 exists twice.
    assert_eq!(
        next("30 2 * * *", "Europe/Berlin", "2025-10-25T12:00:00Z", 2),
        ["2025-10-26T02:30:00+02:00", "2025-10-27T02:30:00+01:00"]
    );
    // Asked between the two occurrences, the second is not a run.
    assert_eq!(next("30 2 * * *", "Europe/Berlin", "2025-10-26T00:45:00Z", 1), ["2025-10-27T02:30:00+01:00"]);
}

#[test]
fn a_day_that_does_not_exist_is_not_lost() {
    // Samoa had no 30 December 2011.
    assert_eq!(next("0 12 30 12 *", "Pacific/Apia", "2011-12-29T00:00:00Z", 1), ["2011-12-31T00:00:00+14:00"]);
}

#[test]
fn weekdays_are_those_of_unix() {
    for sunday in ["0", "7", "sun", "SUN"] {
        assert_eq!(
            next(&format!("0 0 * * {sunday}"), "UTC", "2025-01-01T00:00:00Z", 1),
            ["2025-01-05T00:00:00+00:00"],
            "{sunday}"
        );
    }
    assert_eq!(
        next("0 0 * * fri-7", "UTC", "2025-01-01T00:00:00Z", 4),
        [
            "2025-01-03T00:00:00+00:00",
            "2025-01-04T00:00:00+00:00",
            "2025-01-05T00:00:00+00:00",
            "2025-01-10T00:00:00+00:00"
        ]
    );
}

#[test]
fn either_day_is_enough_where_both_are_restricted() {
    assert_eq!(
        next("0 0 13 * fri", "UTC", "2025-06-01T00:00:00Z", 4),
        [
            "2025-06-06T00:00:00+00:00",
            "2025-06-13T00:00:00+00:00",
            "2025-06-20T00:00:00+00:00",
            "2025-06-27T00:00:00+00:00"
        ]
    );
    // A field that begins with a star does not restrict.
    assert_eq!(
        next("0 0 */2 * mon", "UTC", "2025-06-01T00:00:00Z", 2),
        ["2025-06-09T00:00:00+00:00", "2025-06-23T00:00:00+00:00"]
    );
    assert_eq!(next("0 0 29 feb *", "UTC", "2025-01-01T00:00:00Z", 1), ["2028-02-29T00:00:00+00:00"]);
}

#[test]
fn what_is_refused() {
    assert_eq!(
        refused("0 30 2 * * *"),
        (
            "a schedule has five fields, \"0 30 2 * * *\" has 6".into(),
            Some("there is no field for seconds or years: write \"30 2 * * *\"".into())
        )
    );
    assert_eq!(refused("@daily").1.as_deref(), Some("write its five fields: \"0 0 * * *\""));
    assert_eq!(refused("61 * * * *").0, "bad minute \"61\" in the schedule: 61 is not between 0 and 59");
    assert_eq!(
        refused("0 0 * jna *").0,
        "bad month \"jna\" in the schedule: \"jna\" is no number or name; did you mean \"jan\"?"
    );
    assert_eq!(refused("0 0 5-1 * *").0, "bad day of month \"5-1\" in the schedule: the range 5-1 runs backwards");
    assert_eq!(refused("0 0 30 2 *").0, "the schedule \"0 0 30 2 *\" never runs");
    assert_eq!(refused("*/0 * * * *").0, "bad minute \"*/0\" in the schedule: the step \"0\" must be between 1 and 59");
    let zone = zone("Europe/Berlni").unwrap_err();
    assert_eq!(
        (zone.to_string(), zone.help()),
        ("unknown time zone \"Europe/Berlni\"".into(), Some("did you mean \"Europe/Berlin\"?".into()))
    );
}
