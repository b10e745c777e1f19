use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use super::*;
use crate::config::HttpSettings;

/// Resolves names as a test says, one answer after another; how often it was asked is known.
#[derive(Clone, Debug, Default)]
struct Said(Arc<Mutex<(VecDeque<Vec<SocketAddr>>, usize)>>);

impl Said {
    fn so(answers: &[&[&str]]) -> Self {
        let parse = |answer: &&[&str]| answer.iter().map(|address| format!("{address}:0").parse().unwrap()).collect();
        Self(Arc::new(Mutex::new((answers.iter().map(parse).collect(), 0))))
    }

    fn asked(&self) -> usize {
        self.0.lock().unwrap().1
    }
}

impl Service<Name> for Said {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = std::io::Error;
    type Future = std::future::Ready<Result<Self::Response, std::io::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), std::io::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Name) -> Self::Future {
        let mut said = self.0.lock().unwrap();
        said.1 += 1;
        let answer = if said.0.len() > 1 { said.0.pop_front() } else { said.0.front().cloned() };
        std::future::ready(Ok(answer.unwrap_or_default().into_iter()))
    }
}

fn request(url: &str) -> HttpRequest {
    HttpRequest { method: HttpMethod::Get, url: url.to_owned(), headers: Vec::new(), body: Vec::new() }
}

fn settings(hosts: &[&str], local_hosts: &[&str]) -> HttpSettings {
    let owned = |hosts: &[&str]| hosts.iter().map(|host| (*host).to_owned()).collect();
    HttpSettings { hosts: owned(hosts), local_hosts: owned(local_hosts), ..HttpSettings::default() }
}

fn send(settings: &HttpSettings, resolver: &Said, request: &HttpRequest) -> Result<HttpResponse, OutsideError> {
    let caller = HttpCaller::resolving(settings, resolver).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(caller.send(request, &mut { caller.bytes }, Instant::now() + Duration::from_secs(60)))
}

/// Answers each connection with these bytes, and gives what it was sent.
fn server(answer: &'static [u8]) -> (u16, std::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let (mut sent, mut bytes) = (Vec::new(), [0; 1024]);
            while !sent.windows(4).any(|end| end == b"\r\n\r\n") {
                let read = stream.read(&mut bytes).unwrap();
                sent.extend_from_slice(&bytes[..read]);
            }
            let _ = stream.write_all(answer);
            if tell.send(String::from_utf8_lossy(&sent).into_owned()).is_err() {
                return;
            }
        }
    });
    (port, told)
}

const FINE: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-one: 1\r\nconnection: close\r\n\r\nhi";

#[test]
fn names_at_addresses_that_are_not_allowed_are_denied() {
    for addresses in [
        &["127.0.0.1"][..],
        &["169.254.169.254"],
        &["10.0.0.1"],
        &["[::1]"],
        &["[fe80::1]"],
        &["[fd00:ec2::254]"],
        &["[::ffff:127.0.0.1]"],
        &["[::ffff:169.254.169.254]"],
        &["0.0.0.0"],
        &["224.0.0.1"],
        // One that is not among others that are.
        &["93.184.215.14", "127.0.0.1"],
    ] {
        for url in ["https://api.test/", "http://api.test/"] {
            let said = Said::so(&[addresses]);
            let error = send(&settings(&["api.test", "http://api.test"], &[]), &said, &request(url)).unwrap_err();
            assert_eq!((error.kind, said.asked()), (Failing::Denied, 1), "{addresses:?}: {}", error.message);
            assert!(error.message.starts_with("api.test is at "), "{}", error.message);
        }
    }
    // What is listed as local may be near, and is never of the link, of metadata or of many.
    for never in ["169.254.169.254", "[fd00:ec2::254]", "[fe80::1]", "0.0.0.0", "224.0.0.1"] {
        let error =
            send(&settings(&[], &["api.test"]), &Said::so(&[&[never]]), &request("https://api.test/")).unwrap_err();
        assert!(error.kind == Failing::Denied && error.message.contains("no policy may call"), "{}", error.message);
    }
}

#[test]
fn addresses_that_are_written_out_are_looked_at_too() {
    for host in
        ["127.0.0.1", "[::1]", "169.254.169.254", "[::ffff:a9fe:a9fe]", "10.0.0.1", "0.0.0.0", "[fd00:ec2::254]"]
    {
        let (url, said) = (format!("https://{host}/latest/meta-data/"), Said::default());
        let error = send(&settings(&[host], &[]), &said, &request(&url)).unwrap_err();
        assert_eq!((error.kind, said.asked()), (Failing::Denied, 0), "{host}: {}", error.message);
    }
}

#[test]
fn a_name_that_changes_is_looked_at_again_and_the_connection_goes_where_it_was_looked_at() {
    let (port, told) = server(FINE);
    let host = format!("http://api.test:{port}");
    let said = Said::so(&[&["127.0.0.1"], &["169.254.169.254"]]);
    let settings = settings(&[], &[&host]);
    let caller = HttpCaller::resolving(&settings, &said).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    let first = runtime.block_on(caller.send(&request(&host), &mut { caller.bytes }, until)).unwrap();
    assert_eq!((first.status, first.body.as_slice(), said.asked()), (200, &b"hi"[..], 1));
    assert!(told.recv().unwrap().contains(&format!("host: api.test:{port}\r\n")));
    let second = runtime.block_on(caller.send(&request(&host), &mut { caller.bytes }, until)).unwrap_err();
    assert_eq!((second.kind, said.asked()), (Failing::Denied, 2));
}

#[test]
fn redirections_are_shown_and_not_followed() {
    let (port, told) = server(
        b"HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
    );
    let host = format!("http://127.0.0.1:{port}");
    let response = send(&settings(&[], &[&host]), &Said::default(), &request(&host)).unwrap();
    assert_eq!(response.status, 302);
    assert!(response.headers.contains(&("location".to_owned(), "http://169.254.169.254/".to_owned())));
    drop(told.recv().unwrap());
    assert!(told.try_recv().is_err(), "one request was sent");
}

#[test]
fn what_is_not_listed_or_no_request_is_told() {
    let listed = settings(&["api.test", "http://plain.test:8080"], &[]);
    let ask = |change: &dyn Fn(&mut HttpRequest)| {
        let mut request = request("https://api.test/");
        change(&mut request);
        let error = send(&listed, &Said::default(), &request).unwrap_err();
        format!("{}: {}\n", error.kind.name(), error.message)
    };
    let header = |name: &str, value: &str| {
        let (name, value) = (name.to_owned(), value.to_owned());
        ask(&move |request| request.headers.push((name.clone(), value.clone())))
    };
    let mut told = String::new();
    for url in [
        "https://other.test/x",
        "http://api.test/",
        "https://api.test:8443/",
        "https://plain.test:8080/",
        "https://api.test.other.test/",
        "https://user:secret@api.test/",
        "https://api.test/#fragment",
        "file:///etc/passwd",
        "/relative",
        "https://api.test\r\nx: y/",
    ] {
        told.push_str(&ask(&|request| request.url = url.to_owned()));
    }
    for (name, value) in
        [("Host", "x"), ("Content-Length", "3"), ("transfer-encoding", "chunked"), ("a b", "x"), ("x", "a\r\nb: c")]
    {
        told.push_str(&header(name, value));
    }
    insta::assert_snapshot!(told);
}

#[test]
fn answers_and_runs_are_bounded() {
    let (port, _told) = server(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n0123456789");
    let host = format!("http://127.0.0.1:{port}");
    let bounded = HttpSettings { bytes: 9, ..settings(&[], &[&host]) };
    assert_eq!(send(&bounded, &Said::default(), &request(&host)).unwrap_err().kind, Failing::OverLimit);
    // An answer that is too large, or breaks off, has come all the same.
    let (broken, _told) = server(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\nconnection: close\r\n\r\n0123456789");
    let broken = format!("http://127.0.0.1:{broken}");
    let caller = HttpCaller::resolving(&settings(&[], &[&host, &broken]), &Said::default()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for (url, mut room, left, kind) in
        [(&host, 9, 0, Failing::OverLimit), (&broken, 15, 5, Failing::Unavailable), (&host, 0, 0, Failing::OverLimit)]
    {
        let until = Instant::now() + Duration::from_secs(60);
        let error = runtime.block_on(caller.send(&request(url), &mut room, until)).unwrap_err();
        assert_eq!((error.kind, room), (kind, left), "{}", error.message);
    }
    let caller =
        HttpCaller::resolving(&HttpSettings { run_calls: 1, ..settings(&[], &[&host]) }, &Said::default()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    assert!(runtime.block_on(caller.send(&request(&host), &mut { caller.bytes }, until)).is_ok());
    let error = runtime.block_on(caller.send(&request(&host), &mut { caller.bytes }, until)).unwrap_err();
    assert!(error.kind == Failing::OverLimit && error.message.contains("run_calls"), "{}", error.message);
    // Whose time is over waits for nobody.
    let caller = HttpCaller::resolving(&settings(&[], &[&host]), &Said::default()).unwrap();
    let error = runtime.block_on(caller.send(&request(&host), &mut { caller.bytes }, Instant::now())).unwrap_err();
    assert_eq!(error.kind, Failing::Unavailable);
}
