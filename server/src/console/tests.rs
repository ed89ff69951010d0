//! Does a browser get the files as they are, under rules that keep data from becoming a program?

use std::collections::BTreeSet;

use axum::body::to_bytes;
use axum::http::header::{CONTENT_SECURITY_POLICY, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderValue, StatusCode};

use super::{File, ICON, PAGE, SCRIPT, STYLE};

static FILES: [(&File, &str); 4] =
    [(&PAGE, "text/html"), (&STYLE, "text/css"), (&SCRIPT, "text/javascript"), (&ICON, "image/svg+xml")];

fn asking(known: &str) -> HeaderMap {
    HeaderMap::from_iter([(IF_NONE_MATCH, HeaderValue::from_str(known).expect("a header"))])
}

#[tokio::test]
async fn files_are_sent_once() {
    let mut tags = BTreeSet::new();
    for (file, content_type) in FILES {
        let answer = file.answer(&HeaderMap::new());
        assert_eq!(answer.status(), StatusCode::OK);
        let headers = answer.headers().clone();
        let text = |name: &str| headers[name].to_str().expect("text").to_owned();
        assert!(text("content-type").starts_with(content_type));
        assert_eq!([text("cache-control"), text("x-content-type-options")], ["no-cache", "nosniff"]);
        assert_eq!([text("referrer-policy"), text("x-frame-options")], ["no-referrer", "DENY"]);
        let body = to_bytes(answer.into_body(), 1 << 20).await.expect("a body");
        assert_eq!(body, file.text.as_bytes());

        let tag = text("etag");
        for (known, status) in [
            (tag.clone(), StatusCode::NOT_MODIFIED),
            (tag.trim_start_matches("W/").to_owned(), StatusCode::NOT_MODIFIED),
            (format!("\"other\", {tag}"), StatusCode::NOT_MODIFIED),
            ("*".to_owned(), StatusCode::NOT_MODIFIED),
            ("\"other\"".to_owned(), StatusCode::OK),
            (String::new(), StatusCode::OK),
        ] {
            let answer = file.answer(&asking(&known));
            assert_eq!(answer.status(), status, "{known}");
            assert_eq!(answer.headers()[ETAG], tag);
            let body = to_bytes(answer.into_body(), 1 << 20).await.expect("a body");
            assert_eq!(body.is_empty(), status == StatusCode::NOT_MODIFIED);
        }
        tags.insert(tag);
    }
    assert_eq!(tags.len(), FILES.len());
}

/// By it `system.queries` tells them from what people ran.
#[test]
fn statements_of_its_own_have_the_mark() {
    let declared = format!("const OWN = \"{} \";", tidewater_query::CONSOLE_MARK);
    assert!(SCRIPT.text.contains(&declared), "{declared}");
}

#[test]
fn only_own_files_run() {
    let answer = PAGE.answer(&HeaderMap::new());
    let policy = answer.headers()[CONTENT_SECURITY_POLICY].to_str().expect("text");
    for rule in
        ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "require-trusted-types-for 'script'"]
    {
        assert!(policy.split("; ").any(|given| given == rule), "{rule} is not in {policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains("http") && !policy.contains('*'), "{policy}");

    let page = PAGE.text;
    assert!(!page.contains(" style=") && !page.contains("<style"), "a style of the page's own would not be applied");
    for event in [" onclick=", " onload=", " onerror=", " onsubmit=", " onkeydown=", "javascript:"] {
        assert!(!page.contains(event), "a script of the page's own would not run: {event}");
    }
    for tag in page.split("<script").skip(1) {
        assert!(tag.starts_with(" type=\"module\" src=\"/console.js\">"), "{}", &tag[..60]);
    }
    for (file, _) in [&FILES[0], &FILES[1], &FILES[2]] {
        for other in ["src=\"http", "href=\"http", "src=\"//", "href=\"//", "https://", "@import", "url("] {
            assert!(!file.text.contains(other), "a file of another server: {other}");
        }
    }
}

/// Values are text, whatever they look like.
#[test]
fn the_script_makes_no_markup() {
    for word in
        ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(", "DOMParser", "srcdoc"]
    {
        assert!(!SCRIPT.text.contains(word), "{word}");
    }
}

#[test]
fn the_script_knows_the_page() {
    let ids: BTreeSet<&str> = PAGE.text.split(" id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    let mut asked = 0;
    for rest in SCRIPT.text.split("$(\"").skip(1) {
        let id = rest.split('"').next().unwrap_or_default();
        asked += 1;
        assert!(ids.contains(id), "the page has no element '{id}'");
    }
    assert!(asked > 50, "{asked} only");
}
