//! Takes queries apart, as far as boards and alerts need it: which series they ask for, by which labels.

use std::collections::BTreeSet;

/// Functions that take the changes of a counter over a time.
const RATES: [&str; 3] = ["rate", "increase", "irate"];
const FUNCTIONS: [&str; 8] = ["sum", "max", "min", "avg", "count", "topk", "histogram_quantile", "clamp_min"];
/// What stands before a list of labels.
const LISTS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
const OPERATORS: [&str; 4] = ["and", "or", "unless", "bool"];

/// What a query asks for.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Query {
    pub(super) selectors: Vec<Selector>,
    /// The labels that results are grouped or joined by.
    pub(super) grouped: BTreeSet<String>,
}

/// Some series of a metric.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Selector {
    pub(super) metric: String,
    /// Label, operator and value.
    pub(super) matchers: Vec<(String, String, String)>,
    /// Whether its changes over a time are asked for.
    pub(super) is_rate: bool,
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    /// What stands between `[` and `]`.
    Range,
    Number,
    Sign(String),
}

/// The query, or why it is none.
pub(super) fn parse(text: &str) -> Result<Query, String> {
    let tokens = tokens(text)?;
    let (mut query, mut open, mut at) = (Query::default(), Vec::new(), 0);
    while at < tokens.len() {
        let next = tokens.get(at + 1);
        at += 1;
        match &tokens[at - 1] {
            Token::Word(word) if LISTS.contains(&word.as_str()) => {
                at = labels(&tokens, at, &mut query.grouped)?;
            }
            Token::Word(word) if OPERATORS.contains(&word.as_str()) => {}
            Token::Word(word) if is_function(word) => {
                // `sum by (le) (…)` has its labels before what it sums.
                if let Some(Token::Word(list)) = next
                    && LISTS.contains(&list.as_str())
                {
                    at = labels(&tokens, at + 1, &mut query.grouped)?;
                }
                if tokens.get(at) != Some(&sign("(")) {
                    return Err(format!("{word} without ("));
                }
                open.push(word.clone());
                at += 1;
            }
            Token::Word(metric) => {
                let is_rate = open.last().is_some_and(|function| RATES.contains(&function.as_str()));
                if next == Some(&sign("(")) {
                    return Err(format!("{metric} is no function that boards use"));
                }
                let (matchers, behind) = matchers(&tokens, at)?;
                at = behind;
                let has_range = tokens.get(at) == Some(&Token::Range);
                if has_range != is_rate {
                    return Err(format!("{metric}: a range goes with a rate, and only there"));
                }
                at += usize::from(has_range);
                query.selectors.push(Selector { metric: metric.clone(), matchers, is_rate });
            }
            Token::Sign(s) if s == "(" => open.push(String::new()),
            Token::Sign(s) if s == ")" => drop(open.pop().ok_or("one ) too many")?),
            Token::Sign(s) if "+-*/>=<=,".contains(s.as_str()) || ["==", "!="].contains(&s.as_str()) => {}
            Token::Number => {}
            other => return Err(format!("{other:?} is out of place")),
        }
    }
    if !open.is_empty() || query.selectors.is_empty() {
        return Err("a ( is not closed, or nothing is asked for".to_owned());
    }
    Ok(query)
}

fn is_function(word: &str) -> bool {
    RATES.contains(&word) || FUNCTIONS.contains(&word)
}

fn sign(text: &str) -> Token {
    Token::Sign(text.to_owned())
}

/// A list of labels in brackets; where it ends.
fn labels(tokens: &[Token], mut at: usize, found: &mut BTreeSet<String>) -> Result<usize, String> {
    if tokens.get(at) != Some(&sign("(")) {
        return Err("a list of labels begins with (".to_owned());
    }
    loop {
        at += 1;
        match tokens.get(at) {
            Some(Token::Word(label)) => drop(found.insert(label.clone())),
            Some(Token::Sign(s)) if s == "," => {}
            Some(Token::Sign(s)) if s == ")" => return Ok(at + 1),
            other => return Err(format!("{other:?} in a list of labels")),
        }
    }
}

type Matchers = Vec<(String, String, String)>;

/// What stands in `{…}` at a place, if anything does; where it ends.
fn matchers(tokens: &[Token], mut at: usize) -> Result<(Matchers, usize), String> {
    let mut matchers = Vec::new();
    if tokens.get(at) != Some(&sign("{")) {
        return Ok((matchers, at));
    }
    at += 1;
    loop {
        match tokens.get(at..) {
            Some([Token::Word(label), Token::Sign(operator), Token::Text(value), ..])
                if ["=", "!=", "=~", "!~"].contains(&operator.as_str()) =>
            {
                matchers.push((label.clone(), operator.clone(), value.clone()));
                at += 3;
            }
            Some([Token::Sign(s), ..]) if s == "," => at += 1,
            Some([Token::Sign(s), ..]) if s == "}" => return Ok((matchers, at + 1)),
            _ => return Err("what stands in { } is no list of matchers".to_owned()),
        }
    }
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let (mut tokens, mut rest) = (Vec::new(), text.trim_start());
    while let Some(first) = rest.chars().next() {
        let length = match first {
            'a'..='z' | 'A'..='Z' | '_' => {
                let word: String =
                    rest.chars().take_while(|c| c.is_alphanumeric() || "_:".contains(*c)).collect();
                tokens.push(Token::Word(word.clone()));
                word.len()
            }
            '0'..='9' => {
                tokens.push(Token::Number);
                rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len())
            }
            '"' => {
                let end = rest[1..].find('"').ok_or("a text is not closed")?;
                tokens.push(Token::Text(rest[1..=end].to_owned()));
                end + 2
            }
            '[' => {
                tokens.push(Token::Range);
                1 + rest.find(']').ok_or("a range is not closed")?
            }
            _ => {
                let two = rest.get(..2).filter(|two| ["!=", "=~", "!~", "==", ">=", "<="].contains(two));
                let one = two.unwrap_or(&rest[..first.len_utf8()]);
                tokens.push(sign(one));
                one.len()
            }
        };
        rest = rest[length..].trim_start();
    }
    Ok(tokens)
}

#[test]
fn queries_are_taken_apart() {
    let text = "histogram_quantile(0.99, sum by (le, instance) (rate(a_bucket{job=\"x\", b=~\"c|d\"}[5m]))) > 1 and e";
    let query = parse(text).unwrap();
    let matcher =
        |label: &str, operator: &str, value: &str| (label.to_owned(), operator.to_owned(), value.to_owned());
    let matchers = vec![matcher("job", "=", "x"), matcher("b", "=~", "c|d")];
    let first = Selector { metric: "a_bucket".to_owned(), matchers, is_rate: true };
    let second = Selector { metric: "e".to_owned(), matchers: Vec::new(), is_rate: false };
    assert_eq!(query.selectors, [first, second]);
    assert_eq!(query.grouped.iter().map(String::as_str).collect::<Vec<_>>(), ["instance", "le"]);
    for bad in [
        "rate(a)",
        "a[5m]",
        "sum(a",
        "a)",
        "sum a",
        "a{b}",
        "a{b=\"c\"",
        "a{b=\"c}",
        "1",
        "nofunction(a)",
        "a $",
    ] {
        assert!(parse(bad).is_err(), "{bad}: {:?}", parse(bad));
    }
}
