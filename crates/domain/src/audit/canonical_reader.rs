//! The strict JSON reader behind [`super::canonical`]: RFC 8259 without floats and `null`, with a bounded depth.
//! It names what is forbidden; order, white space and escapes are judged by re-encoding.

use super::canonical::{DEPTH_MAX, INTEGER_MAX, Object, Reject, Value, descend};

pub(super) struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Reader { text, at: 0 }
    }

    /// One value and nothing after it but white space.
    pub(super) fn document(mut self) -> Result<Value, Reject> {
        let value = self.value(DEPTH_MAX)?;
        self.space();
        if self.at == self.text.len() { Ok(value) } else { Err(Reject::NonCanonical) }
    }

    fn value(&mut self, depth: usize) -> Result<Value, Reject> {
        self.space();
        match self.peek() {
            Some(b'{') => self.object(descend(depth)?).map(Value::Object),
            Some(b'[') => self.list(descend(depth)?).map(Value::List),
            Some(b'"') => self.string().map(Value::Text),
            Some(b'-' | b'0'..=b'9') => self.number().map(Value::Integer),
            Some(b't') => self.word("true").map(|()| Value::Bool(true)),
            Some(b'f') => self.word("false").map(|()| Value::Bool(false)),
            _ => Err(Reject::NonCanonical),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Object, Reject> {
        let mut object = Object::new();
        self.at += 1;
        self.space();
        if self.take(b'}') {
            return Ok(object);
        }
        loop {
            self.space();
            let key = self.string()?;
            self.space();
            self.expect(b':')?;
            let value = self.value(depth)?;
            if !object.add(key, value) {
                return Err(Reject::DuplicateKey);
            }
            self.space();
            if self.take(b'}') {
                return Ok(object);
            }
            self.expect(b',')?;
        }
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Value>, Reject> {
        let mut list = Vec::new();
        self.at += 1;
        self.space();
        if self.take(b']') {
            return Ok(list);
        }
        loop {
            list.push(self.value(depth)?);
            self.space();
            if self.take(b']') {
                return Ok(list);
            }
            self.expect(b',')?;
        }
    }

    fn number(&mut self) -> Result<i64, Reject> {
        let start = self.at;
        while matches!(self.peek(), Some(b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9')) {
            self.at += 1;
        }
        let token = &self.text[start..self.at];
        let digits = token.strip_prefix('-').unwrap_or(token);
        if digits.contains(['.', 'e', 'E']) {
            return Err(Reject::FloatForbidden);
        }
        let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        if !plain || (digits.len() > 1 && digits.starts_with('0')) {
            return Err(Reject::NonCanonical);
        }
        token
            .parse()
            .ok()
            .filter(|n: &i64| n.unsigned_abs() <= INTEGER_MAX as u64)
            .ok_or(Reject::IntegerRange)
    }

    fn string(&mut self) -> Result<String, Reject> {
        self.expect(b'"')?;
        let mut string = String::new();
        loop {
            let rest = &self.text[self.at..];
            let length = rest.find(|c: char| c == '"' || c == '\\' || c < ' ').ok_or(Reject::NonCanonical)?;
            string.push_str(&rest[..length]);
            self.at += length;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(string);
                }
                Some(b'\\') => string.push(self.escape()?),
                Some(0) => return Err(Reject::NulForbidden),
                _ => return Err(Reject::NonCanonical),
            }
        }
    }

    fn escape(&mut self) -> Result<char, Reject> {
        let code = *self.text.as_bytes().get(self.at + 1).ok_or(Reject::NonCanonical)?;
        self.at += 2;
        Ok(match code {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b't' => '\t',
            b'n' => '\n',
            b'f' => '\u{c}',
            b'r' => '\r',
            b'u' => return self.escaped_unit(),
            _ => return Err(Reject::NonCanonical),
        })
    }

    fn escaped_unit(&mut self) -> Result<char, Reject> {
        match self.hex()? {
            0 => Err(Reject::NulForbidden),
            high @ 0xD800..=0xDBFF => self.surrogate_pair(high),
            unit => char::from_u32(unit).ok_or(Reject::Surrogate),
        }
    }

    fn surrogate_pair(&mut self, high: u32) -> Result<char, Reject> {
        if !self.text[self.at..].starts_with("\\u") {
            return Err(Reject::Surrogate);
        }
        self.at += 2;
        match self.hex()? {
            low @ 0xDC00..=0xDFFF => {
                char::from_u32(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00)).ok_or(Reject::Surrogate)
            }
            _ => Err(Reject::Surrogate),
        }
    }

    fn hex(&mut self) -> Result<u32, Reject> {
        let digits = self.text.get(self.at..self.at + 4).ok_or(Reject::NonCanonical)?;
        if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(Reject::NonCanonical);
        }
        self.at += 4;
        u32::from_str_radix(digits, 16).map_err(|_| Reject::NonCanonical)
    }

    fn word(&mut self, word: &str) -> Result<(), Reject> {
        if !self.text[self.at..].starts_with(word) {
            return Err(Reject::NonCanonical);
        }
        self.at += word.len();
        Ok(())
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8) -> Result<(), Reject> {
        if self.take(byte) { Ok(()) } else { Err(Reject::NonCanonical) }
    }
}
