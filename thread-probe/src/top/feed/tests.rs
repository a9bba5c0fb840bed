use super::*;

#[test]
fn a_source_is_a_url_or_a_socket_and_its_label_has_no_password() {
    let label = |url| Address::parse(url).map(|address| address.label());
    assert_eq!(label("http://127.0.0.1:10420"), Ok("http://127.0.0.1:10420".to_owned()));
    assert_eq!(label("https://me:secret@host/prefix/"), Ok("https://host/prefix/".to_owned()));
    assert_eq!(label("unix:/run/a.sock"), Ok("/run/a.sock".to_owned()));
    for bad in ["", "host:10420", "unix:", "unix:relative", "ftp://me:secret@host", "http://me:secret@/"] {
        assert!(label(bad).is_err_and(|said| said.contains("unix:/PATH") || said.contains("begin with /")), "{bad}");
        assert!(label(bad).is_err_and(|said| !said.contains("secret")), "{bad}");
    }
}
