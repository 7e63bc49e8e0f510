use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::Frame;
use tokio::sync::mpsc;

use super::*;

const IDLE: Duration = Duration::from_secs(5);

/// A body that yields what is sent to it, and ends with its sender.
struct Chunks(mpsc::UnboundedReceiver<&'static [u8]>);

impl Body for Chunks {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let chunk = self.0.poll_recv(context);
        chunk.map(|chunk| chunk.map(|chunk| Ok(Frame::data(Bytes::from_static(chunk)))))
    }
}

fn open() -> (mpsc::UnboundedSender<&'static [u8]>, Lines<Chunks>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (sender, Lines::new(Chunks(receiver)))
}

/// The lines of a body that arrives in these chunks and ends.
async fn lines(chunks: &[&'static [u8]]) -> Result<Vec<String>, HttpError> {
    let (sender, mut lines) = open();
    for chunk in chunks {
        sender.send(chunk).unwrap();
    }
    drop(sender);
    let mut all = Vec::new();
    while let Some(line) = lines.next(IDLE).await? {
        all.push(line);
    }
    Ok(all)
}

#[tokio::test]
async fn lines_are_found_wherever_the_chunks_are_cut() {
    let expected = ["event: x", "data: é", "", "", "end"];
    let whole = "event: x\r\ndata: é\n\r\n\nend".as_bytes();
    assert_eq!(lines(&[whole]).await.unwrap(), expected);
    for cut in 0..whole.len() {
        let (head, tail) = whole.split_at(cut);
        assert_eq!(
            lines(&[head, tail]).await.unwrap(),
            expected,
            "cut at {cut}"
        );
    }
    let bytes: Vec<_> = whole.chunks(1).collect();
    assert_eq!(lines(&bytes).await.unwrap(), expected);
}

#[tokio::test]
async fn an_empty_body_has_no_lines() {
    assert_eq!(lines(&[]).await.unwrap(), Vec::<String>::new());
    assert_eq!(lines(&[b"a\n"]).await.unwrap(), ["a"]);
}

#[tokio::test]
async fn bytes_that_are_no_text_are_an_error() {
    assert!(matches!(lines(&[b"\xff\n"]).await, Err(HttpError::NotText)));
}

#[tokio::test]
async fn a_line_without_end_is_not_collected_for_ever() {
    let (sender, mut lines) = open();
    lines.max_line = 8;
    sender.send(b"12345678\n123456789").unwrap();
    assert_eq!(lines.next(IDLE).await.unwrap().as_deref(), Some("12345678"));
    assert!(matches!(
        lines.next(IDLE).await,
        Err(HttpError::TooLong { limit: 8 })
    ));
}

#[tokio::test]
async fn silence_is_an_error_and_what_arrived_before_is_kept_when_dropped() {
    let (sender, mut lines) = open();
    sender.send(b"half").unwrap();
    let limit = Duration::from_millis(20);
    assert!(matches!(
        lines.next(limit).await,
        Err(HttpError::Silent { .. })
    ));
    // Dropped while it waits: nothing is lost.
    assert!(tokio::time::timeout(limit, lines.next(IDLE)).await.is_err());
    sender.send(b" and half\n").unwrap();
    assert_eq!(
        lines.next(IDLE).await.unwrap().as_deref(),
        Some("half and half")
    );
}
