//! Redis: a server of a run's own, and a connection that sends many commands at once and reads their answers.

mod server;

use std::net::SocketAddr;

use anyhow::{Context as _, bail, ensure};
use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

pub use server::{Commands, Redis};

/// Room for what is read at once.
const READ: usize = 64 << 10;

/// Commands that are sent together.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
}

impl Batch {
    /// Adds a command of so many words.
    pub fn begin(&mut self, words: usize) {
        self.length(b'*', words);
    }

    /// Adds a word of the command that was begun.
    pub fn word(&mut self, word: &[u8]) {
        self.length(b'$', word.len());
        self.bytes.extend_from_slice(word);
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// Adds a whole command.
    pub fn command(&mut self, words: &[&str]) {
        self.begin(words.len());
        words.iter().for_each(|word| self.word(word.as_bytes()));
    }

    fn length(&mut self, kind: u8, length: usize) {
        let mut digits = [0; 20];
        let mut at = digits.len();
        let mut left = length;
        loop {
            at -= 1;
            digits[at] = b'0' + (left % 10) as u8;
            left /= 10;
            if left == 0 {
                break;
            }
        }
        self.bytes.push(kind);
        self.bytes.extend_from_slice(&digits[at..]);
        self.bytes.extend_from_slice(b"\r\n");
    }
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// None, also of a list.
    Nothing,
    Number(i64),
    Bytes(Bytes),
    List(Vec<Reply>),
}

impl Reply {
    /// The bytes, if it is some.
    pub fn bytes(self) -> anyhow::Result<Bytes> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            other => bail!("Redis answers {other:?} instead of bytes"),
        }
    }

    /// The parts, if it is a list.
    pub fn list(self) -> anyhow::Result<Vec<Reply>> {
        match self {
            Self::List(list) => Ok(list),
            other => bail!("Redis answers {other:?} instead of a list"),
        }
    }
}

/// The half of a connection that sends.
pub struct Sender(OwnedWriteHalf);

impl Sender {
    /// Sends a batch and empties it.
    pub async fn send(&mut self, batch: &mut Batch) -> anyhow::Result<()> {
        self.0.write_all(&batch.bytes).await.context("cannot write to Redis")?;
        batch.bytes.clear();
        Ok(())
    }
}

/// The half of a connection that reads answers, in the order of the commands.
pub struct Replies {
    stream: OwnedReadHalf,
    buffer: BytesMut,
}

impl Replies {
    /// The next answer; an error of the server is an error here.
    pub async fn next(&mut self) -> anyhow::Result<Reply> {
        loop {
            if let Some(length) = length(&self.buffer)? {
                return parse(&mut self.buffer.split_to(length).freeze());
            }
            self.buffer.reserve(READ);
            let read = self.stream.read_buf(&mut self.buffer).await.context("cannot read from Redis")?;
            ensure!(read > 0, "Redis closed the connection");
        }
    }
}

/// Opens a connection.
pub async fn connect(address: SocketAddr) -> anyhow::Result<(Sender, Replies)> {
    let stream =
        TcpStream::connect(address).await.with_context(|| format!("cannot connect to Redis at {address}"))?;
    stream.set_nodelay(true)?;
    let (read, write) = stream.into_split();
    Ok((Sender(write), Replies { stream: read, buffer: BytesMut::new() }))
}

/// Sends one command and reads its answer.
pub async fn ask((sender, replies): &mut (Sender, Replies), words: &[&str]) -> anyhow::Result<Reply> {
    let mut batch = Batch::default();
    batch.command(words);
    sender.send(&mut batch).await?;
    replies.next().await.with_context(|| format!("cannot do {}", words.join(" ")))
}

/// How long the first answer is; none if some of it has not come yet. It copies nothing and looks into no word.
fn length(buffer: &[u8]) -> anyhow::Result<Option<usize>> {
    let (mut at, mut parts) = (0, 1);
    while parts > 0 {
        let Some(rest) = buffer.get(at..) else { return Ok(None) };
        let Some(end) = rest.iter().position(|byte| *byte == b'\r') else { return Ok(None) };
        parts -= 1;
        at += end + 2;
        match rest.first() {
            Some(b'$') => at += number(&rest[1..end])?.try_into().map_or(0, |length: usize| length + 2),
            Some(b'*') => parts += usize::try_from(number(&rest[1..end])?).unwrap_or(0),
            _ => {}
        }
    }
    Ok((at <= buffer.len()).then_some(at))
}

fn number(digits: &[u8]) -> anyhow::Result<i64> {
    std::str::from_utf8(digits)?.parse().context("Redis does not speak RESP")
}

/// Takes an answer that is whole.
fn parse(bytes: &mut Bytes) -> anyhow::Result<Reply> {
    let end = bytes.iter().position(|byte| *byte == b'\r').context("an answer without an end")?;
    let line = bytes.split_to(end);
    bytes.advance(2);
    let rest = line.slice(1..);
    match line[0] {
        b'+' => Ok(Reply::Bytes(rest)),
        b'-' => bail!("Redis says {}", String::from_utf8_lossy(&rest)),
        b':' => Ok(Reply::Number(number(&rest)?)),
        b'$' => Ok(match usize::try_from(number(&rest)?) {
            Ok(length) => {
                let word = bytes.split_to(length);
                bytes.advance(2);
                Reply::Bytes(word)
            }
            Err(_) => Reply::Nothing,
        }),
        b'*' => match usize::try_from(number(&rest)?) {
            Ok(parts) => Ok(Reply::List((0..parts).map(|_| parse(bytes)).collect::<anyhow::Result<_>>()?)),
            Err(_) => Ok(Reply::Nothing),
        },
        kind => bail!("Redis answers something of the kind {kind}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_what_redis_reads() {
        let mut batch = Batch::default();
        batch.command(&["SET", "k", "0123456789"]);
        batch.begin(1);
        batch.word(b"");
        assert_eq!(batch.bytes, b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$10\r\n0123456789\r\n*1\r\n$0\r\n\r\n");
    }

    #[test]
    fn an_answer_is_read_when_all_of_it_is_there() {
        let whole = b"*4\r\n$4\r\na\r\nb\r\n:-7\r\n*2\r\n$-1\r\n+OK\r\n*-1\r\n";
        for end in 0..whole.len() {
            assert_eq!(length(&whole[..end]).unwrap(), None, "{end}");
        }
        assert_eq!(length(&[&whole[..], b":1\r\n"].concat()).unwrap(), Some(whole.len()));
        let text = |text: &'static str| Reply::Bytes(Bytes::from(text));
        let inner = Reply::List(vec![Reply::Nothing, text("OK")]);
        let expected = Reply::List(vec![text("a\r\nb"), Reply::Number(-7), inner, Reply::Nothing]);
        assert_eq!(parse(&mut Bytes::from_static(whole)).unwrap(), expected);
        assert!(parse(&mut Bytes::from_static(b"-ERR no\r\n")).is_err());
        assert!(length(b"$x\r\n").is_err());
    }
}
