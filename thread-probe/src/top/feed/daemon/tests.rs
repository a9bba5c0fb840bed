use super::*;
use crate::testing::empty_model;

const NOW: f64 = 1000.0;

fn model(time: f64, interval: Option<f64>) -> Model {
    let mut model = Model { time_unix_seconds: time, interval_seconds: interval, ..empty_model() };
    model.probe.sample_duration_seconds = 0.03;
    model
}

fn request(interval: Duration) -> Request {
    Request { pid: None, interval }
}

/// What is told of an answer that comes at [`NOW`], and milliseconds until the next question.
#[expect(clippy::option_option, reason = "whether anything was said, and what")]
fn told(told: &mut Told, outcome: Result<Model, &str>, request: Request) -> (Option<Option<String>>, u128) {
    let outcome = outcome.map(|model| Sample { model, one: None, command_line: None }).map_err(str::to_owned);
    let (update, wait) = told.next(outcome, request, SystemTime::UNIX_EPOCH + Duration::from_secs_f64(NOW));
    let update = update.map(|update| match update {
        Update::Sample(_) | Update::Over => None,
        Update::Lost(reason) => Some(reason),
    });
    (update, wait.as_millis())
}

const SECOND: Request = Request { pid: None, interval: Duration::from_secs(1) };
#[expect(clippy::option_option, reason = "as above")]
const SAMPLE: Option<Option<String>> = Some(None);

#[test]
fn it_asks_again_when_the_next_sample_is_there_and_no_more_often_than_is_wanted() {
    let first = |model, request| told(&mut Told::default(), Ok(model), request);
    assert_eq!(first(model(NOW - 2.0, Some(5.0)), SECOND), (SAMPLE, 3050));
    assert_eq!(first(model(NOW - 2.0, Some(1.0)), request(Duration::from_secs(10))), (SAMPLE, 8050));
    assert_eq!(first(model(NOW - 0.2, Some(0.1)), request(Duration::from_millis(100))), (SAMPLE, 250));
    // One that is overdue.
    assert_eq!(first(model(NOW - 6.0, Some(5.0)), SECOND), (SAMPLE, 250));
    // A clock that is ahead, and one that is behind.
    assert_eq!(first(model(NOW + 60.0, Some(5.0)), SECOND), (SAMPLE, 5000));
    assert_eq!(first(model(NOW - 60.0, Some(5.0)), SECOND), (SAMPLE, 5000));
    // What no daemon says.
    assert_eq!(first(model(NOW, Some(1e300)), SECOND), (SAMPLE, 3_600_000));
    assert_eq!(first(model(-1e300, Some(-1.0)), SECOND), (SAMPLE, 1000));
}

#[test]
fn a_sample_is_handed_on_once_for_each_process_asked_for() {
    let mut last = Told::default();
    let same = || Ok(model(NOW - 60.0, Some(5.0)));
    assert_eq!(told(&mut last, same(), SECOND).0, SAMPLE);
    assert_eq!(told(&mut last, same(), SECOND), (None, 1250));
    assert_eq!(told(&mut last, same(), Request { pid: Some(1), ..SECOND }).0, SAMPLE);
    assert_eq!(told(&mut last, Ok(model(NOW - 1.0, None)), Request { pid: Some(1), ..SECOND }).0, SAMPLE);
}

#[test]
fn a_daemon_that_takes_no_samples_any_more_is_told_once() {
    let mut last = Told::default();
    let mut lost_at = Vec::new();
    for second in 0..60 {
        let sample = Sample { model: model(NOW, Some(5.0)), one: None, command_line: None };
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1000 + second);
        if let (Some(Update::Lost(_)), _) = last.next(Ok(sample), SECOND, now) {
            lost_at.push(second);
        }
    }
    assert_eq!(lost_at, [19], "three samples of 5 s, and a second for each, are missing");
    assert_eq!(told(&mut last, Ok(model(NOW + 60.0, Some(5.0))), SECOND).0, SAMPLE);
}

#[test]
fn a_failure_is_told_once_and_tried_again_each_second() {
    let mut last = Told::default();
    let said = |text: &str| Some(Some(text.to_owned()));
    assert_eq!(told(&mut last, Ok(model(NOW, None)), SECOND).0, SAMPLE);
    assert_eq!(told(&mut last, Err("a"), SECOND), (said("a"), 1000));
    assert_eq!(told(&mut last, Err("a"), SECOND), (None, 1000));
    assert_eq!(told(&mut last, Err("b"), SECOND), (said("b"), 1000));
    // It is there again, if only with the sample that it had.
    assert_eq!(told(&mut last, Ok(model(NOW, None)), SECOND).0, SAMPLE);
    assert_eq!(told(&mut last, Err("b"), SECOND), (said("b"), 1000));
}

#[test]
fn what_is_no_thread_probe_or_another_version_is_told_so() {
    let said = |body: &str| parse::<Model>(body.as_bytes()).err().unwrap_or_default();
    for other in ["", "<html>", "{}", "[1, \"\u{1b}[2J\"]", "{\"version\": 1}"] {
        let said = said(other);
        assert!(said.contains("is no thread-probe") && !said.contains('\u{1b}'), "{other:?}: {said}");
    }
    let older = said("{\"version\": \"0.0.1\\n\"}");
    assert!(older.starts_with("thread-probe 0.0.1? answers") && older.contains("update the older one"), "{older}");
}
