//! Strict readers of the formats, for tests and fuzz targets. Written from the specifications and
//! not from what writes the formats, with which they share nothing: whatever a specification does
//! not allow is an error.

/// What a line says, or why it is not of the format.
pub type Parsed<T> = Result<T, String>;
/// Keys and values in their order; no key stands twice.
pub type Pairs = Vec<(String, String)>;

fn fail<T>(what: &str, at: &str) -> Parsed<T> {
    let near: String = at.chars().take(60).collect();
    Err(format!("{what} at {near:?}"))
}

fn add(pairs: &mut Pairs, key: &str, value: String) -> Parsed<()> {
    if pairs.iter().any(|(known, _)| known == key) {
        return fail("the key is there twice", key);
    }
    pairs.push((key.to_owned(), value));
    Ok(())
}

/// JSON (RFC 8259) whose objects name no member twice.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// A number as it is written.
    Number(String),
    /// A string.
    Text(String),
    /// An array.
    List(Vec<Json>),
    /// An object.
    Object(Vec<(String, Json)>),
}

impl Json {
    /// What a line holds.
    pub fn parse(line: &str) -> Parsed<Self> {
        let mut rest = line;
        let value = value(&mut rest, 0)?;
        if rest.is_empty() {
            Ok(value)
        } else {
            fail("more than one value", rest)
        }
    }

    /// What is found by these names, one in the other; a number is an index of a list.
    pub fn at(&self, path: &str) -> Option<&Self> {
        path.split('.').try_fold(self, |value, name| match value {
            Self::Object(members) => members.iter().find(|(key, _)| key == name).map(|(_, v)| v),
            Self::List(items) => items.get(name.parse::<usize>().ok()?),
            _ => None,
        })
    }

    /// The string there.
    pub fn text(&self, path: &str) -> Option<String> {
        match self.at(path)? {
            Self::Text(text) => Some(text.clone()),
            _ => None,
        }
    }

    /// The number there.
    pub fn number<T: std::str::FromStr>(&self, path: &str) -> Option<T> {
        match self.at(path)? {
            Self::Number(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// The strings of the list there; none where there is no list.
    pub fn texts(&self, path: &str) -> Vec<String> {
        match self.at(path) {
            Some(Self::List(items)) => items
                .iter()
                .filter_map(|item| match item {
                    Self::Text(text) => Some(text.clone()),
                    _ => None,
                })
                .collect(),
            _ => vec![],
        }
    }

    /// The items of the list there; none where there is no list.
    pub fn list(&self, path: &str) -> &[Self] {
        match self.at(path) {
            Some(Self::List(items)) => items,
            _ => &[],
        }
    }
}

/// No white space between tokens: events are written without.
fn value(rest: &mut &str, depth: usize) -> Parsed<Json> {
    if depth > 32 {
        return fail("too deep", rest);
    }
    for (word, value) in [
        ("null", Json::Null),
        ("true", Json::Bool(true)),
        ("false", Json::Bool(false)),
    ] {
        if take(rest, word) {
            return Ok(value);
        }
    }
    if take(rest, "[") {
        let mut items = vec![];
        if take(rest, "]") {
            return Ok(Json::List(items));
        }
        loop {
            items.push(value(rest, depth + 1)?);
            if take(rest, "]") {
                return Ok(Json::List(items));
            }
            if !take(rest, ",") {
                return fail("no end of an array", rest);
            }
        }
    }
    if take(rest, "{") {
        let mut members: Vec<(String, Json)> = vec![];
        if take(rest, "}") {
            return Ok(Json::Object(members));
        }
        loop {
            let key = string(rest)?;
            if members.iter().any(|(known, _)| *known == key) {
                return fail("the member is there twice", &key);
            }
            if !take(rest, ":") {
                return fail("no colon", rest);
            }
            members.push((key, value(rest, depth + 1)?));
            if take(rest, "}") {
                return Ok(Json::Object(members));
            }
            if !take(rest, ",") {
                return fail("no end of an object", rest);
            }
        }
    }
    if rest.starts_with('"') {
        return Ok(Json::Text(string(rest)?));
    }
    let length = rest
        .find(|c: char| !"+-.0123456789eE".contains(c))
        .unwrap_or(rest.len());
    let (number, tail) = rest.split_at(length);
    if number.parse::<f64>().is_err() || number.starts_with('+') {
        return fail("no value", rest);
    }
    *rest = tail;
    Ok(Json::Number(number.to_owned()))
}

fn take(rest: &mut &str, word: &str) -> bool {
    let tail = rest.strip_prefix(word);
    *rest = tail.unwrap_or(rest);
    tail.is_some()
}

fn string(rest: &mut &str) -> Parsed<String> {
    if !take(rest, "\"") {
        return fail("no string", rest);
    }
    let mut units: Vec<u16> = vec![];
    let mut chars = rest.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => {
                *rest = &rest[at + 1..];
                let text = String::from_utf16(&units);
                return text.map_err(|_| "half a surrogate pair".to_owned());
            }
            '\\' => {
                let Some((_, escape)) = chars.next() else {
                    break;
                };
                units.push(match escape {
                    '"' | '\\' | '/' => escape as u16,
                    'b' => 8,
                    'f' => 12,
                    'n' => 10,
                    'r' => 13,
                    't' => 9,
                    'u' => {
                        let digits: String = chars.by_ref().take(4).map(|(_, c)| c).collect();
                        let plain =
                            digits.len() == 4 && digits.chars().all(|c| c.is_ascii_hexdigit());
                        match u16::from_str_radix(&digits, 16) {
                            Ok(unit) if plain => unit,
                            _ => return fail("no four digits", &digits),
                        }
                    }
                    _ => return fail("an unknown escape", rest),
                });
            }
            c if (c as u32) < 0x20 => return fail("a control character in a string", rest),
            c => units.extend(c.encode_utf16(&mut [0; 2]).iter()),
        }
    }
    fail("a string without an end", rest)
}

/// An event of CEF.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cef {
    /// Vendor, product, version, signature id, name.
    pub header: [String; 5],
    /// 0 to 10.
    pub severity: u8,
    /// The extension.
    pub pairs: Pairs,
}

impl Cef {
    /// `CEF:0|vendor|product|version|id|name|severity|key=value key=value`. In the header a pipe
    /// and a backslash are escaped by a backslash; in values an equals sign, a backslash and line
    /// ends are. A key is what stands between the last space and an equals sign that is not escaped.
    pub fn parse(line: &str) -> Parsed<Self> {
        if line.contains(['\n', '\r']) {
            return fail("a line's end", line);
        }
        let Some(mut rest) = line.strip_prefix("CEF:0|") else {
            return fail("not CEF", line);
        };
        let mut parts = vec![];
        for _ in 0..6 {
            let mut part = String::new();
            let mut chars = rest.char_indices();
            let end = loop {
                match chars.next() {
                    Some((at, '|')) => break at,
                    Some((_, '\\')) => match chars.next() {
                        Some((_, c @ ('|' | '\\'))) => part.push(c),
                        _ => return fail("an unknown escape in the header", rest),
                    },
                    Some((_, c)) => part.push(c),
                    None => return fail("too few parts of the header", line),
                }
            };
            parts.push(part);
            rest = &rest[end + 1..];
        }
        let severity = parts.pop().unwrap_or_default();
        let severity = match severity.parse() {
            Ok(number @ 0..=10) => number,
            _ => return fail("no severity", &severity),
        };
        let header = parts.try_into().map_err(|_| "five parts".to_owned())?;
        Ok(Self {
            header,
            severity,
            pairs: extension(rest)?,
        })
    }
}

fn extension(text: &str) -> Parsed<Pairs> {
    // Where the equals signs are that are not escaped.
    let mut signs = vec![];
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        if c == '=' && !escaped {
            signs.push(at);
        }
        escaped = c == '\\' && !escaped;
    }
    let start = |sign: usize| text[..sign].rfind(' ').map_or(0, |at| at + 1);
    let mut pairs = vec![];
    if signs.first().is_none_or(|sign| start(*sign) != 0) {
        return fail("text before the first key", text);
    }
    for (number, sign) in signs.iter().enumerate() {
        let key = &text[start(*sign)..*sign];
        if key.is_empty() || !key.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return fail("no key", key);
        }
        let end = signs
            .get(number + 1)
            .map_or(text.len(), |next| start(*next));
        let mut value = String::new();
        let mut chars = text[sign + 1..end].trim_matches(' ').chars();
        while let Some(c) = chars.next() {
            value.push(match c {
                '\\' => match chars.next() {
                    Some(c @ ('\\' | '=')) => c,
                    Some('n') => '\n',
                    Some('r') => '\r',
                    _ => return fail("an unknown escape in a value", text),
                },
                c => c,
            });
        }
        add(&mut pairs, key, value)?;
    }
    Ok(pairs)
}

/// An event of LEEF 2.0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leef {
    /// Vendor, product, version, event id.
    pub header: [String; 4],
    /// The attributes.
    pub pairs: Pairs,
}

impl Leef {
    /// `LEEF:2.0|vendor|product|version|event|delimiter|key=value`, parted by the delimiter, which
    /// is one character or its number after an `x`. There are no escapes.
    pub fn parse(line: &str) -> Parsed<Self> {
        if line.contains(['\n', '\r']) {
            return fail("a line's end", line);
        }
        let parts: Vec<&str> = line.splitn(7, '|').collect();
        let [
            "LEEF:2.0",
            vendor,
            product,
            version,
            event,
            delimiter,
            attributes,
        ] = parts[..]
        else {
            return fail("not LEEF", line);
        };
        let hexadecimal = delimiter.strip_prefix("0x").or(delimiter.strip_prefix('x'));
        let delimiter = match hexadecimal.map(|digits| u8::from_str_radix(digits, 16)) {
            Some(Ok(number)) => char::from(number),
            _ if delimiter.chars().count() == 1 => delimiter.chars().next().unwrap_or('\t'),
            _ => return fail("no delimiter", delimiter),
        };
        let mut pairs = vec![];
        for attribute in attributes.split(delimiter) {
            let Some((key, value)) = attribute.split_once('=') else {
                return fail("no key", attribute);
            };
            if key.is_empty() || !key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                return fail("no key", key);
            }
            add(&mut pairs, key, value.to_owned())?;
        }
        Ok(Self {
            header: [vendor, product, version, event].map(str::to_owned),
            pairs,
        })
    }
}

/// A syslog message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Syslog {
    /// Number of the facility.
    pub facility: u8,
    /// 0 emergency to 7 debug.
    pub severity: u8,
    /// Time, host, application, process, message id; `None` for the nil value.
    pub header: [Option<String>; 5],
    /// Elements of the structured data with their parameters.
    pub data: Vec<(String, Pairs)>,
    /// The text after the mark of UTF-8.
    pub text: String,
}

impl Syslog {
    /// The grammar of RFC 5424, section 6.
    pub fn parse(line: &str) -> Parsed<Self> {
        let priority = line.strip_prefix('<').and_then(|rest| rest.split_once('>'));
        let Some((digits, rest)) = priority else {
            return fail("no priority", line);
        };
        let number: u8 = match digits.parse() {
            Ok(number @ 0..=191) if number.to_string() == digits => number,
            _ => return fail("no priority", digits),
        };
        let Some(mut rest) = rest.strip_prefix("1 ") else {
            return fail("not version 1", rest);
        };
        let mut header: [Option<String>; 5] = Default::default();
        for (field, longest) in header.iter_mut().zip([64, 255, 48, 128, 32]) {
            let Some((word, tail)) = rest.split_once(' ') else {
                return fail("the header ends early", rest);
            };
            let printable = word.bytes().all(|b| (33..=126).contains(&b));
            if word.is_empty() || word.len() > longest || !printable {
                return fail("not a field of the header", word);
            }
            *field = (word != "-").then(|| word.to_owned());
            rest = tail;
        }
        if let Some(time) = &header[0] {
            timestamp(time)?;
        }
        let mut data: Vec<(String, Pairs)> = vec![];
        if !take(&mut rest, "-") {
            while take(&mut rest, "[") {
                let id = sd_name(&mut rest)?;
                if data.iter().any(|(known, _)| *known == id) {
                    return fail("the element is there twice", &id);
                }
                let mut pairs = vec![];
                while take(&mut rest, " ") {
                    let name = sd_name(&mut rest)?;
                    if !take(&mut rest, "=\"") {
                        return fail("a parameter without a value", rest);
                    }
                    let value = sd_value(&mut rest)?;
                    add(&mut pairs, &name, value)?;
                }
                if !take(&mut rest, "]") {
                    return fail("an element without an end", rest);
                }
                data.push((id, pairs));
            }
            if data.is_empty() {
                return fail("no structured data", rest);
            }
        }
        let text = match rest.strip_prefix(' ') {
            None if rest.is_empty() => "",
            None => return fail("more after the structured data", rest),
            Some(text) => match text.strip_prefix('\u{feff}') {
                Some(text) => text,
                None => return fail("no mark of UTF-8", text),
            },
        };
        Ok(Self {
            facility: number / 8,
            severity: number % 8,
            header,
            data,
            text: text.to_owned(),
        })
    }
}

/// `2023-11-14T22:13:20.000001Z`, with six digits after the point at most.
fn timestamp(text: &str) -> Parsed<()> {
    let shape: String = text
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    let Some(rest) = shape.strip_prefix("0000-00-00T00:00:00") else {
        return fail("no time", text);
    };
    let fraction = rest
        .strip_suffix('Z')
        .map(|f| f.strip_prefix('.').unwrap_or(f));
    match fraction {
        Some(digits) if digits.len() <= 6 && digits.bytes().all(|b| b == b'0') => Ok(()),
        _ => fail("no time", text),
    }
}

fn sd_name(rest: &mut &str) -> Parsed<String> {
    let end = rest
        .find(|c: char| !c.is_ascii_graphic() || "=]\"".contains(c))
        .unwrap_or(rest.len());
    if end == 0 || end > 32 {
        return fail("no name", rest);
    }
    let (name, tail) = rest.split_at(end);
    *rest = tail;
    Ok(name.to_owned())
}

fn sd_value(rest: &mut &str) -> Parsed<String> {
    let mut value = String::new();
    let mut chars = rest.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => {
                *rest = &rest[at + 1..];
                return Ok(value);
            }
            ']' => return fail("a bracket that is not escaped", &rest[at..]),
            '\\' => match chars.next() {
                Some((_, c @ ('"' | '\\' | ']'))) => value.push(c),
                _ => return fail("an unknown escape", &rest[at..]),
            },
            c if c.is_control() => return fail("a control character", &rest[at..]),
            c => value.push(c),
        }
    }
    fail("a value without an end", rest)
}
