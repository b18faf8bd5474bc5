//! Asking resolvers. Each is asked by itself, past every cache of this process; what they say is compared.
//!
//! An answer is believed if it comes from the address that was asked, on the port that was asked from (the operating
//! system chooses it), with the random id and the question that were sent (RFC 5452 §9). One that was cut off is
//! asked for again over TCP (RFC 1035 §4.2.2).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use rowhouse_domain::entropy::Entropy;
use rowhouse_domain::tenancy::hosts::Proof;
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;
use utoipa::ToSchema;

/// How long one try waits for an answer, and how many there are.
const WAIT: Duration = Duration::from_secs(2);
const TRIES: usize = 2;
/// Largest answer that is read over UDP.
const DATAGRAM_MAX: usize = 4_096;

/// Why a resolver gave no answer.
#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error("the name is not one that DNS can hold")]
    Name,
    #[error("no answer within {} s", WAIT.as_secs())]
    Late,
    #[error("{0}")]
    Network(#[from] std::io::Error),
    #[error("an answer that cannot be read")]
    Unreadable,
    #[error("it answered {0}")]
    Refused(ResponseCode),
}

/// What one resolver says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ResolverSaid)]
pub(super) struct Said {
    /// Its address.
    pub resolver: String,
    /// The records that it found.
    pub found: Vec<String>,
    /// Why it gave no answer.
    pub problem: Option<String>,
}

/// The TXT records of `name`, as each of `resolvers` sees them; its strings are joined (RFC 7208 §3.3 does the same).
pub(super) async fn texts(resolvers: &[SocketAddr], entropy: &Entropy, name: &str) -> Vec<Said> {
    let text = |data: &RData| match data {
        RData::TXT(txt) => Some(String::from_utf8_lossy(&txt.txt_data.concat()).into_owned()),
        _ => None,
    };
    ask_all(resolvers, entropy, name, RecordType::TXT, text).await
}

/// The addresses of `name`, as each of `resolvers` sees them.
pub(super) async fn addresses(resolvers: &[SocketAddr], entropy: &Entropy, name: &str) -> Vec<Said> {
    let address = |data: &RData| match data {
        RData::A(a) => Some(IpAddr::from(a.0).to_string()),
        RData::AAAA(aaaa) => Some(IpAddr::from(aaaa.0).to_string()),
        _ => None,
    };
    let mut said = ask_all(resolvers, entropy, name, RecordType::A, address).await;
    for (four, six) in said.iter_mut().zip(ask_all(resolvers, entropy, name, RecordType::AAAA, address).await)
    {
        four.found.extend(six.found);
    }
    said
}

/// What all of them say about the text that is `expected`, and in words what is wrong.
pub(super) fn judge(said: &[Said], expected: &str) -> (Proof, Option<String>) {
    let shows = |one: &Said| one.found.iter().any(|text| text == expected);
    match () {
        () if said.len() < 2 => {
            (Proof::Unanswered, Some("two resolvers must be set (tenancy.resolvers)".to_owned()))
        }
        () if said.iter().all(shows) => (Proof::Shown, None),
        () => match said.iter().find(|one| one.problem.is_some()) {
            Some(Said { resolver, problem: Some(problem), .. }) => {
                (Proof::Unanswered, Some(format!("{resolver}: {problem}")))
            }
            _ if said.iter().any(shows) => {
                (Proof::NotShown, Some("the resolvers do not agree yet".to_owned()))
            }
            _ if said.iter().all(|one| one.found.is_empty()) => {
                (Proof::NotShown, Some("there is no TXT record".to_owned()))
            }
            _ => (Proof::NotShown, Some("no TXT record has the expected text".to_owned())),
        },
    }
}

async fn ask_all(
    resolvers: &[SocketAddr],
    entropy: &Entropy,
    name: &str,
    kind: RecordType,
    read: impl Fn(&RData) -> Option<String>,
) -> Vec<Said> {
    let mut said = Vec::new();
    for resolver in resolvers {
        let (found, problem) = match ask(*resolver, entropy, name, kind).await {
            Ok(answer) => (answer.answers.iter().filter_map(|record| read(&record.data)).collect(), None),
            Err(error) => (Vec::new(), Some(error.to_string())),
        };
        said.push(Said { resolver: resolver.to_string(), found, problem });
    }
    said
}

async fn ask(
    resolver: SocketAddr,
    entropy: &Entropy,
    name: &str,
    kind: RecordType,
) -> Result<Message, AskError> {
    let name = Name::from_ascii(format!("{name}.")).map_err(|_| AskError::Name)?;
    let query = Query::query(name, kind);
    let mut last = AskError::Late;
    for _ in 0..TRIES {
        let id = u16::from_be_bytes(entropy.bytes());
        match timeout(WAIT, exchange(resolver, id, &query)).await {
            Ok(Ok(answer)) => return answered(answer),
            Ok(Err(error)) => last = error,
            Err(_elapsed) => last = AskError::Late,
        }
    }
    Err(last)
}

/// That there is no such name is an answer too.
fn answered(answer: Message) -> Result<Message, AskError> {
    match answer.metadata.response_code {
        ResponseCode::NoError | ResponseCode::NXDomain => Ok(answer),
        other => Err(AskError::Refused(other)),
    }
}

async fn exchange(resolver: SocketAddr, id: u16, query: &Query) -> Result<Message, AskError> {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(query.clone());
    let question = message.to_vec().map_err(|_| AskError::Name)?;
    let answer = by_datagram(resolver, &question, &message).await?;
    if !answer.metadata.truncation {
        return Ok(answer);
    }
    let bytes = by_stream(resolver, &question).await?;
    let answer = Message::from_vec(&bytes).map_err(|_| AskError::Unreadable)?;
    if answers(&answer, &message) { Ok(answer) } else { Err(AskError::Unreadable) }
}

async fn by_datagram(resolver: SocketAddr, question: &[u8], asked: &Message) -> Result<Message, AskError> {
    let any: IpAddr = match resolver {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    // Connected: what comes from elsewhere does not reach us.
    socket.connect(resolver).await?;
    socket.send(question).await?;
    let mut buffer = vec![0; DATAGRAM_MAX];
    loop {
        let length = socket.recv(&mut buffer).await?;
        // A forged or late answer is passed over; the right one may still come.
        if let Ok(answer) = Message::from_vec(&buffer[..length])
            && answers(&answer, asked)
        {
            return Ok(answer);
        }
    }
}

async fn by_stream(resolver: SocketAddr, question: &[u8]) -> Result<Vec<u8>, AskError> {
    let mut stream = TcpStream::connect(resolver).await?;
    let length = u16::try_from(question.len()).map_err(|_| AskError::Name)?;
    stream.write_all(&[&length.to_be_bytes(), question].concat()).await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

fn answers(answer: &Message, asked: &Message) -> bool {
    answer.metadata.message_type == MessageType::Response
        && answer.metadata.id == asked.metadata.id
        && answer.queries == asked.queries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_must_say_it() {
        let says = |texts: &[&str]| Said {
            resolver: "r".to_owned(),
            found: texts.iter().map(|text| (*text).to_owned()).collect(),
            problem: None,
        };
        let silent = Said { problem: Some("no answer".to_owned()), ..says(&[]) };
        let table = [
            (vec![says(&["x", "proof"]), says(&["proof"])], Proof::Shown),
            (vec![says(&["proof"]), says(&[])], Proof::NotShown),
            (vec![says(&["proof"]), says(&["PROOF"])], Proof::NotShown),
            (vec![says(&["proof"]), silent.clone()], Proof::Unanswered),
            (vec![says(&[]), silent.clone()], Proof::Unanswered),
            (vec![silent.clone(), silent], Proof::Unanswered),
            (vec![says(&["proof"])], Proof::Unanswered),
            (vec![], Proof::Unanswered),
        ];
        for (said, proof) in table {
            let (found, words) = judge(&said, "proof");
            assert_eq!(found, proof, "{said:?}");
            assert_eq!(words.is_none(), proof == Proof::Shown, "{said:?}");
        }
    }
}
