//! Asking resolvers for addresses and services. An answer is believed if it comes from the address that was asked, on the port that was asked
//! from, with the random id and the question that were sent (RFC 5452 §9); one that was cut off is asked for again over TCP.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use rowhouse_domain::entropy::Entropy;
use rowhouse_domain::routes::Discovered;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

/// How long a resolver has to answer.
const WAIT: Duration = Duration::from_secs(2);
/// Largest answer that is read over UDP.
const DATAGRAM_MAX: usize = 4_096;

/// What a name stands for.
pub(super) struct Found {
    pub(super) addresses: BTreeSet<String>,
    /// How long it says that it is good.
    pub(super) lives: Duration,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    #[error("no resolver is known: set server.resolvers")]
    NoResolver,
    #[error("the name is not one that DNS can hold")]
    Name,
    #[error("no resolver answers: {0}")]
    Network(#[from] io::Error),
    #[error("a resolver answered {0}")]
    Refused(ResponseCode),
}

/// The resolvers that `/etc/resolv.conf` names.
pub(super) fn resolvers_of_the_system() -> Vec<SocketAddr> {
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let named = text.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
    named
        .filter_map(|address| address.trim().parse::<IpAddr>().ok())
        .map(|own| SocketAddr::new(own, 53))
        .collect()
}

/// The copies that a name stands for, as the first resolver says that answers.
pub(super) async fn copies(
    resolvers: &[SocketAddr],
    entropy: &Entropy,
    meant: Discovered<'_>,
) -> Result<Found, AskError> {
    let mut last = AskError::NoResolver;
    for resolver in resolvers {
        match copies_by(*resolver, entropy, meant).await {
            Ok(found) => return Ok(found),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn copies_by(
    resolver: SocketAddr,
    entropy: &Entropy,
    meant: Discovered<'_>,
) -> Result<Found, AskError> {
    match meant {
        Discovered::Hosts { host, port } => {
            let found = hosts(resolver, entropy, host).await?;
            let addresses = found.0.into_iter().map(|own| SocketAddr::new(own, port).to_string()).collect();
            Ok(Found { addresses, lives: found.1 })
        }
        Discovered::Services { name } => {
            let answer = ask(resolver, entropy, name, RecordType::SRV).await?;
            let records = answer.answers.iter().filter_map(|record| match &record.data {
                RData::SRV(srv) => Some((srv.priority, srv.target.to_ascii(), srv.port, record.ttl)),
                _ => None,
            });
            let records: Vec<_> = records.collect();
            let first = records.iter().map(|own| own.0).min();
            let mut all = Found { addresses: BTreeSet::new(), lives: Duration::MAX };
            for (_, target, port, ttl) in records.into_iter().filter(|own| Some(own.0) == first) {
                let (addresses, lives) = hosts(resolver, entropy, target.trim_end_matches('.')).await?;
                all.addresses.extend(addresses.into_iter().map(|own| SocketAddr::new(own, port).to_string()));
                all.lives = all.lives.min(lives).min(Duration::from_secs(u64::from(ttl)));
            }
            Ok(all)
        }
    }
}

/// The addresses of a host, and how long they are good.
async fn hosts(
    resolver: SocketAddr,
    entropy: &Entropy,
    host: &str,
) -> Result<(Vec<IpAddr>, Duration), AskError> {
    let mut addresses = Vec::new();
    let mut lives = Duration::MAX;
    for kind in [RecordType::A, RecordType::AAAA] {
        for record in ask(resolver, entropy, host, kind).await?.answers {
            let address = match &record.data {
                RData::A(a) => IpAddr::from(a.0),
                RData::AAAA(aaaa) => IpAddr::from(aaaa.0),
                // Another name on the way there: the resolver has followed it, but it may change first.
                RData::CNAME(_) => {
                    lives = lives.min(Duration::from_secs(u64::from(record.ttl)));
                    continue;
                }
                _ => continue,
            };
            addresses.push(address);
            lives = lives.min(Duration::from_secs(u64::from(record.ttl)));
        }
    }
    Ok((addresses, lives))
}

async fn ask(
    resolver: SocketAddr,
    entropy: &Entropy,
    name: &str,
    kind: RecordType,
) -> Result<Message, AskError> {
    let name = Name::from_ascii(format!("{name}.")).map_err(|_| AskError::Name)?;
    let mut message = Message::new(u16::from_be_bytes(entropy.bytes()), MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name, kind));
    let late = |_| io::Error::from(io::ErrorKind::TimedOut);
    let answer = timeout(WAIT, exchange(resolver, &message)).await.map_err(late)??;
    match answer.metadata.response_code {
        // That there is no such name is an answer too.
        ResponseCode::NoError | ResponseCode::NXDomain => Ok(answer),
        other => Err(AskError::Refused(other)),
    }
}

async fn exchange(resolver: SocketAddr, message: &Message) -> Result<Message, AskError> {
    let question = message.to_vec().map_err(|_| AskError::Name)?;
    let any: IpAddr = match resolver {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    // Connected: what comes from elsewhere does not reach us.
    socket.connect(resolver).await?;
    socket.send(&question).await?;
    let mut buffer = vec![0; DATAGRAM_MAX];
    let answer = loop {
        let length = socket.recv(&mut buffer).await?;
        // A forged or late answer is passed over; the right one may still come.
        if let Some(answer) = read(&buffer[..length], message) {
            break answer;
        }
    };
    if !answer.metadata.truncation {
        return Ok(answer);
    }
    let mut stream = TcpStream::connect(resolver).await?;
    let length = u16::try_from(question.len()).map_err(|_| AskError::Name)?;
    stream.write_all(&[&length.to_be_bytes(), &question[..]].concat()).await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    Ok(read(&answer, message).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?)
}

fn read(bytes: &[u8], asked: &Message) -> Option<Message> {
    let answer = Message::from_vec(bytes).ok()?;
    let is_it = answer.metadata.message_type == MessageType::Response
        && answer.metadata.id == asked.metadata.id
        && answer.queries == asked.queries;
    is_it.then_some(answer)
}
