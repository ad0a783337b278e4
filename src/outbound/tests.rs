use super::{DOCUMENT_TIMEOUT, HttpClient, HttpError, MAX_BODY_BYTES, ReqwestClient, document};
use bytes::Bytes;
use http::{Request, StatusCode};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{RootCertStore, ServerConfig};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

fn client() -> ReqwestClient {
    ReqwestClient::trusting(RootCertStore::empty()).unwrap()
}

async fn read_head(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// A server that answers one request with these bytes, and says what the request was.
async fn once(response: Vec<u8>) -> (String, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/doc", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let head = read_head(&mut stream).await;
        // The client may hang up while we still write: that is what some tests are about.
        drop(stream.write_all(&response).await);
        head
    });
    (url, server)
}

fn plain(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len()).into_bytes()
}

#[tokio::test]
async fn a_document_is_fetched_in_our_name() {
    let (url, server) = once(plain("200 OK", "", "{}")).await;
    assert_eq!(document(&client(), &url).await.unwrap(), "{}");
    let head = server.await.unwrap().to_ascii_lowercase();
    assert!(head.starts_with("get /doc http/1.1\r\n"), "{head}");
    assert!(head.contains(concat!("\r\nuser-agent: sidegate/", env!("CARGO_PKG_VERSION"), "\r\n")), "{head}");
    assert!(head.contains("\r\naccept: application/json\r\n"), "{head}");
}

#[tokio::test]
async fn nothing_but_200_is_a_document_and_redirects_are_not_followed() {
    let (elsewhere, untouched) = once(plain("200 OK", "", "{}")).await;
    for status in ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"] {
        let (url, _server) = once(plain(status, &format!("location: {elsewhere}\r\n"), "")).await;
        assert!(matches!(document(&client(), &url).await, Err(HttpError::Status(_))), "{status}");
    }
    assert!(!untouched.is_finished());
    for status in
        ["201 Created", "204 No Content", "401 Unauthorized", "404 Not Found", "500 Oops", "503 Oops"]
    {
        let (url, _server) = once(plain(status, "", "")).await;
        assert!(matches!(document(&client(), &url).await, Err(HttpError::Status(_))), "{status}");
    }
}

#[tokio::test]
async fn send_gives_back_any_answer() {
    let (url, server) = once(plain("401 Unauthorized", "x-a: b\r\n", "no")).await;
    let request = Request::post(&url).header("x-q", "1").body(Bytes::from_static(b"question")).unwrap();
    let response = client().send(request, DOCUMENT_TIMEOUT).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(response.headers()["x-a"], "b");
    assert_eq!(response.body(), "no");
    assert!(server.await.unwrap().contains("x-q: 1"));
}

#[tokio::test]
async fn a_body_is_read_up_to_the_limit() {
    let (url, _server) = once(plain("200 OK", "", &"x".repeat(MAX_BODY_BYTES))).await;
    assert_eq!(document(&client(), &url).await.unwrap().len(), MAX_BODY_BYTES);
    let (url, _server) = once(plain("200 OK", "", &"x".repeat(MAX_BODY_BYTES + 1))).await;
    assert!(matches!(document(&client(), &url).await, Err(HttpError::TooLarge)));
    // Without a length it only shows while reading.
    let mut chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..=MAX_BODY_BYTES / 65_536 {
        chunked.extend(format!("10000\r\n{}\r\n", "x".repeat(65_536)).into_bytes());
    }
    let (url, _server) = once(chunked).await;
    assert!(matches!(document(&client(), &url).await, Err(HttpError::TooLarge)));
}

#[tokio::test]
async fn everything_has_a_deadline() {
    for response in [&b""[..], b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            read_head(&mut stream).await;
            stream.write_all(response).await.unwrap();
            std::future::pending::<()>().await;
        });
        let request = Request::get(&url).body(Bytes::new()).unwrap();
        let answer = client().send(request, Duration::from_millis(50)).await;
        assert!(matches!(answer, Err(HttpError::Timeout)), "{answer:?}");
        server.abort();
    }
}

#[tokio::test]
async fn failures_are_told_apart_and_hold_no_url() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = format!("http://{}/secret", listener.local_addr().unwrap());
    drop(listener);
    let refused = document(&client(), &closed).await.unwrap_err();
    assert!(matches!(refused, HttpError::Connect(_)), "{refused:?}");
    assert!(!refused.to_string().contains("secret"));
    let (url, _server) = once(b"SSH-2.0-OpenSSH\r\n\r\n".to_vec()).await;
    assert!(matches!(document(&client(), &url).await, Err(HttpError::Exchange(_))));
    for bad in ["", "issuer.example", "/jwks", "ftp://issuer.example/", "file:///etc/passwd", "http://a b/"] {
        assert!(matches!(document(&client(), bad).await, Err(HttpError::Url)), "{bad}");
    }
}

#[tokio::test]
async fn a_question_on_a_connection_that_is_just_closed_is_put_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/doc", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let mut answered = 0;
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            read_head(&mut stream).await;
            stream.write_all(&plain("200 OK", "", "{}")).await.unwrap();
            answered += 1;
            // The next question on this connection meets a server that has had enough of it.
            if answered < 3 {
                read_head(&mut stream).await;
            }
        }
    });
    let client = client();
    for round in 0..3 {
        assert_eq!(document(&client, &url).await.unwrap(), "{}", "{round}");
    }
    server.abort();
    // One that does so always is not asked for ever.
    let (hang_up, server) = once(Vec::new()).await;
    assert!(document(&client, &hang_up).await.is_err());
    server.abort();
}

#[tokio::test]
async fn a_certificate_must_be_trusted() {
    let issued = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let certificate = issued.cert.der().clone();
    let key = PrivatePkcs8KeyDer::from(issued.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key.into())
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
    let server = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(mut stream) = acceptor.accept(stream).await {
                read_head(&mut stream).await;
                stream.write_all(&plain("200 OK", "connection: close\r\n", "{}")).await.unwrap();
                drop(stream.shutdown().await);
            }
        }
    });
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let trusting = ReqwestClient::trusting(roots).unwrap();
    assert_eq!(document(&trusting, &url).await.unwrap(), "{}");
    assert!(matches!(document(&client(), &url).await, Err(HttpError::Connect(_))));
    server.abort();
}

#[test]
fn the_system_s_certificate_authorities_can_be_read() {
    assert!(ReqwestClient::new().is_ok());
}
