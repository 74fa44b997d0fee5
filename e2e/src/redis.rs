//! A redis-server of our own.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use crate::program::{NO_SETPRIV, mortal};
use crate::site::{LOOK, PATIENCE, free_ports};

/// A server, running or not. Dropping it kills it.
#[derive(Debug)]
pub struct Redis {
    /// Where it listens.
    pub port: u16,
    /// Where its files are.
    pub data: PathBuf,
    arguments: Vec<String>,
    process: Option<Child>,
}

impl Redis {
    /// A server with this `appendfsync`, not started.
    pub fn new(data: PathBuf, fsync: &str) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&data)?;
        let [port] = free_ports()?;
        // A rewrite would fork a process that no recorder follows.
        let arguments = ["--appendonly", "yes", "--appendfsync", fsync, "--auto-aof-rewrite-percentage", "0"];
        let arguments = arguments.into_iter().map(str::to_owned).collect();
        Ok(Self { port, data, arguments, process: None })
    }

    /// One more argument for the next start.
    #[must_use]
    pub fn with(mut self, name: &str, values: &[&str]) -> Self {
        self.arguments.push(name.to_owned());
        self.arguments.extend(values.iter().map(|value| (*value).to_owned()));
        self
    }

    /// Starts it, with more environment, and waits until it has read its files.
    pub async fn start(&mut self, environment: &[(&'static str, PathBuf)]) -> anyhow::Result<()> {
        let log = self.log();
        let process = mortal("redis-server", &[], environment)
            .args(["--bind", "127.0.0.1", "--port", &self.port.to_string(), "--save", "", "--dir"])
            .arg(&self.data)
            .arg("--logfile")
            .arg(&log)
            .args(&self.arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context(NO_SETPRIV)?;
        let process = self.process.insert(process);
        let deadline = Instant::now() + PATIENCE;
        loop {
            if say(self.port, &["PING"]).await.is_ok_and(|answer| answer == "PONG") {
                return Ok(());
            }
            if let Some(status) = process.try_wait()? {
                bail!(
                    "redis-server does not start (Debian: apt-get install redis-server): {status}; its log: {}",
                    log.display()
                );
            }
            ensure!(Instant::now() < deadline, "redis-server is not ready; its log: {}", log.display());
            sleep(LOOK).await;
        }
    }

    /// Cuts off what a loss of power left behind the last whole command, as whoever runs a server has to before it starts.
    pub async fn repair(&self) -> anyhow::Result<()> {
        let manifest = self.data.join("appendonlydir/appendonly.aof.manifest");
        if !manifest.exists() {
            return Ok(());
        }
        let mut command = mortal("redis-check-aof", &[], &[]);
        command.arg("--fix").arg(&manifest);
        let output = answered_yes(command, PATIENCE)
            .await
            .context("redis-check-aof, which comes with redis-server")?;
        ensure!(output.status.success(), "redis-check-aof: {}", String::from_utf8_lossy(&output.stdout));
        Ok(())
    }

    /// kill -9.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        match self.process.take() {
            Some(mut process) => process.kill().await.context("cannot kill redis-server"),
            None => Ok(()),
        }
    }

    /// Its answer to a command.
    pub async fn say(&self, command: &[&str]) -> anyhow::Result<String> {
        say(self.port, command).await
    }

    fn log(&self) -> PathBuf {
        // Not among the files of which a loss of power is made.
        let name = self.data.file_name().unwrap_or_default().to_string_lossy().into_owned();
        self.data.parent().unwrap_or(Path::new(".")).join(format!("{name}.log"))
    }
}

/// What a program says that may ask one question.
async fn answered_yes(mut command: Command, patience: Duration) -> anyhow::Result<Output> {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut process = command.spawn().context(NO_SETPRIV)?;
    let said = async {
        if let Some(mut input) = process.stdin.take() {
            // It may not ask.
            let _ = input.write_all(b"y\n").await;
        }
        process.wait_with_output().await
    };
    Ok(timeout(patience, said).await.with_context(|| format!("it does not end within {patience:?}"))??)
}

/// A server's answer to a command: a line, a number or a text.
async fn say(port: u16, command: &[&str]) -> anyhow::Result<String> {
    let asked = async {
        let mut server = BufReader::new(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?);
        let mut request = format!("*{}\r\n", command.len());
        for word in command {
            request += &format!("${}\r\n{word}\r\n", word.len());
        }
        server.write_all(request.as_bytes()).await?;
        let mut line = String::new();
        server.read_line(&mut line).await?;
        let line = line.trim_end();
        match line.split_at_checked(1).context("no answer")? {
            ("+" | ":", rest) => Ok(rest.to_owned()),
            ("$", len) => {
                let mut text = vec![0; usize::try_from(len.parse::<i64>()?.max(0))?];
                server.read_exact(&mut text).await?;
                Ok(String::from_utf8_lossy(&text).into_owned())
            }
            _ => bail!("Redis says {line} to {}", command.join(" ")),
        }
    };
    timeout(Duration::from_secs(10), asked).await.context("Redis does not answer")?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_program_that_does_not_end_is_not_waited_for() {
        let mut command = mortal("sleep", &[], &[]);
        command.arg("1000");
        let error = answered_yes(command, Duration::from_millis(50)).await.unwrap_err();
        assert!(error.to_string().contains("does not end"), "{error}");
    }
}
