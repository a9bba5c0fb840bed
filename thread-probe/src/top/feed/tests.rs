use super::*;

#[test]
fn a_source_is_a_url_or_a_socket_and_its_label_has_no_password() {
    let label = |url| Source::parse(url).map(|source| source.label());
    assert_eq!(label("http://127.0.0.1:10420"), Ok("http://127.0.0.1:10420".to_owned()));
    assert_eq!(label("https://me:secret@host/prefix/"), Ok("https://host/prefix/".to_owned()));
    assert_eq!(label("unix:/run/a.sock"), Ok("/run/a.sock".to_owned()));
    for bad in ["", "host:10420", "unix:", "unix:relative", "ftp://me:secret@host", "http://me:secret@/"] {
        assert!(label(bad).is_err_and(|said| said.contains("unix:/PATH") || said.contains("begin with /")), "{bad}");
        assert!(label(bad).is_err_and(|said| !said.contains("secret")), "{bad}");
    }
}

/// A feed whose thread does what is given.
fn feed(run: impl FnOnce(Orders, SyncSender<Update>) + Send + 'static) -> Result<(Feed, JoinHandle<()>)> {
    Feed::spawn(Source::Own, REQUEST, run)
}

const REQUEST: Request = Request { pid: None, interval: Duration::from_secs(1) };
const LONG: Duration = Duration::from_secs(20);

fn lost(feed: &Feed) -> Option<String> {
    match feed.updates().recv_timeout(LONG) {
        Ok(Update::Lost(text)) => Some(text),
        _ => None,
    }
}

#[test]
fn a_thread_that_waits_hears_at_once_of_another_request_and_of_the_end() -> Result<()> {
    let (feed, thread) = feed(|mut orders, updates| {
        for _ in 0..2 {
            hand_on(&updates, Update::Lost(format!("{:?}", orders.wait(LONG))));
        }
        assert_eq!(orders.wait(Duration::ZERO), Event::Due);
        assert_eq!(orders.wait(LONG), Event::Closed);
    })?;
    for pid in [1, 2] {
        let request = Request { pid: Some(pid), ..REQUEST };
        feed.request(request);
        assert_eq!(lost(&feed), Some(format!("{:?}", Event::Asked(request))));
    }
    let started = Instant::now();
    drop(feed);
    assert!(thread.join().is_ok() && started.elapsed() < LONG / 2);
    Ok(())
}

#[test]
fn samples_that_nobody_takes_do_not_pile_up_and_what_ends_them_is_not_left_out() -> Result<()> {
    let (feed, thread) = feed(|_, updates| {
        for _ in 0..2 * PENDING {
            let model = crate::testing::empty_model();
            assert!(hand_on(&updates, Update::Sample(Box::new(Sample { model, one: None }))));
        }
        hand_on(&updates, Update::Lost("the end".to_owned()));
    })?;
    // Until it waits to say the end.
    thread::sleep(Duration::from_millis(50));
    let all: Vec<Update> = feed.updates().iter().collect();
    assert_eq!(all.len(), PENDING + 1);
    assert!(matches!(all.last(), Some(Update::Lost(text)) if text == "the end"));
    assert!(thread.join().is_ok());
    Ok(())
}
