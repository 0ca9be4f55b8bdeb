//! Splits Rust source into what is code, what is comment and what is quoted, line by line.
//!
//! Pure. Understands just enough of the language not to mistake one for another: nested comments,
//! strings (raw, byte and C ones too), and the difference between a character and a lifetime.

/// A source file, line by line.
pub struct Source {
    /// Each line's code: comments gone, quoted text blank.
    pub code: Vec<String>,
    /// Each line's comments, with their `//`, `///` or `//!`.
    pub comments: Vec<String>,
}

#[derive(Clone, Copy)]
enum State {
    Code,
    LineComment,
    BlockComment(usize),
    Text,
    RawText(usize),
}

/// Splits `text`.
pub fn split(text: &str) -> Source {
    let chars: Vec<char> = text.chars().collect();
    let mut source = Source {
        code: vec![String::new()],
        comments: vec![String::new()],
    };
    let mut state = State::Code;
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        if c == '\n' {
            if matches!(state, State::LineComment) {
                state = State::Code;
            }
            source.code.push(String::new());
            source.comments.push(String::new());
            at += 1;
            continue;
        }
        let next = chars.get(at + 1).copied();
        let (Some(code), Some(comments)) = (source.code.last_mut(), source.comments.last_mut())
        else {
            break;
        };
        match state {
            State::LineComment => {
                comments.push(c);
                at += 1;
            }
            State::BlockComment(depth) => {
                if c == '*' && next == Some('/') {
                    state = if depth == 1 {
                        State::Code
                    } else {
                        State::BlockComment(depth - 1)
                    };
                    at += 2;
                } else if c == '/' && next == Some('*') {
                    state = State::BlockComment(depth + 1);
                    at += 2;
                } else {
                    comments.push(c);
                    at += 1;
                }
            }
            State::Text => {
                if c == '\\' && next.is_some_and(|next| next != '\n') {
                    at += 2;
                } else {
                    if c == '"' {
                        code.push('"');
                        state = State::Code;
                    }
                    at += 1;
                }
            }
            State::RawText(hashes) => {
                at += 1;
                if c == '"' && (0..hashes).all(|i| chars.get(at + i) == Some(&'#')) {
                    code.push('"');
                    at += hashes;
                    state = State::Code;
                }
            }
            State::Code if c == '/' && next == Some('/') => {
                comments.push_str("//");
                state = State::LineComment;
                at += 2;
            }
            State::Code if c == '/' && next == Some('*') => {
                state = State::BlockComment(1);
                at += 2;
            }
            State::Code if c == '\'' => at += character(&chars[at..], code),
            State::Code => {
                let after_name = at > 0 && is_name(chars[at - 1]);
                if let Some((prefix, hashes)) =
                    (!after_name).then(|| raw_start(&chars[at..])).flatten()
                {
                    code.push('"');
                    state = State::RawText(hashes);
                    at += prefix;
                } else {
                    code.push(c);
                    if c == '"' {
                        state = State::Text;
                    }
                    at += 1;
                }
            }
        }
    }
    source
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The length of `r##"`, `br"` or `cr#"` at the start, and how many `#` close the text.
fn raw_start(chars: &[char]) -> Option<(usize, usize)> {
    let mut at = usize::from(matches!(chars.first(), Some('b' | 'c')));
    if chars.get(at) != Some(&'r') {
        return None;
    }
    at += 1;
    let hashes = chars[at..].iter().take_while(|c| **c == '#').count();
    at += hashes;
    (chars.get(at) == Some(&'"')).then_some((at + 1, hashes))
}

/// Consumes `'x'`, `'\n'`, `'\u{1f}'`, or just the quote of a lifetime; returns the length.
fn character(chars: &[char], code: &mut String) -> usize {
    let length = match chars.get(1) {
        Some('\\') => chars
            .iter()
            .skip(3)
            .position(|c| *c == '\'')
            .map(|end| end + 4),
        Some(_) if chars.get(2) == Some(&'\'') => Some(3),
        _ => None,
    };
    code.push('\'');
    length.unwrap_or(1)
}

/// Where `word` stands in `code` as a whole word (`aya` in `aya::Pod`, not in `playa`).
pub fn has_word(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = code[at + word.len()..].chars().next();
        !before.is_some_and(is_name) && !after.is_some_and(is_name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_quoted_text_are_no_code() {
        let source = split("let a = \"unsafe // no\"; // unsafe\n/* x /* y */ unsafe */ b();\n");
        assert_eq!(source.code[0], "let a = \"\"; ");
        assert_eq!(source.comments[0], "// unsafe");
        assert_eq!(source.code[1], " b();");
    }

    #[test]
    fn raw_text_escapes_characters_and_lifetimes_are_told_apart() {
        let source = split("f(r#\"a \" unsafe\"#, \"\\\"unsafe\", '\"', '\\'', '\\u{22}', &'a x)");
        assert!(!has_word(&source.code[0], "unsafe"), "{}", source.code[0]);
        assert!(source.code[0].ends_with("&'a x)"), "{}", source.code[0]);
    }

    #[test]
    fn text_over_several_lines_keeps_the_line_numbers() {
        let source = split("let a = \"one\ntwo unsafe\\\n three\";\nunsafe {}");
        assert_eq!(source.code.len(), 4);
        assert_eq!(source.code[3], "unsafe {}");
        assert!(!has_word(&source.code[1], "unsafe"));
    }

    #[test]
    fn words_are_whole() {
        assert!(has_word("use aya::Pod;", "aya"));
        assert!(!has_word("playa aya_obj", "aya"));
    }
}
