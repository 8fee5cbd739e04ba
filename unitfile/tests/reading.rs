//! How the text of a unit file is read: the rules one by one, the ancestor's hashes, errors and limits.

use unitfile::{ErrorKind, MAX_ERRORS, MAX_FILE_BYTES, UnitFile};

/// What is read from `raw`, one line each: line number, section, name and value; or the errors.
fn read(raw: &str) -> String {
    match UnitFile::parse(raw) {
        Ok(file) => {
            assert_eq!(file.raw(), raw, "the text is kept byte for byte");
            let lines = file.options().iter().map(|option| {
                format!(
                    "{} {}.{} = {:?}\n",
                    option.line, option.section, option.name, option.value
                )
            });
            lines.collect()
        }
        Err(errors) => format!("{errors}\n"),
    }
}

#[track_caller]
fn check(raw: &str, expected: &str) {
    assert_eq!(read(raw), expected, "{raw:?}");
}

#[test]
fn hashes_are_the_ancestors() {
    for (raw, hash) in [
        (
            "[Service]\nExecStart=/bin/sleep 100\n",
            "1c6fb6f3684bafb0c173d8b8b957ceff031180c1",
        ),
        (
            "\n[Service]\nExecStart=/usr/bin/sleep infinity\n",
            "40ea6646945809f4b420a50475ee68503088f127",
        ),
        (
            "[Service]\nExecStart=/usr/bin/sleep 10",
            "5bf16b98c62f35fcdc723d32989cdeba7a2dd2a8",
        ),
        (
            "[Service]\nExecStart=/usr/bin/sleep 2000",
            "5ba5292ab6a82b623ee6086dc90b3354ba004832",
        ),
        (
            "[Service]\nExecStart=/bin/sleep 1\n",
            "0291f12e379921025c603e454c0fe989ddb0f3dd",
        ),
    ] {
        let file = UnitFile::parse(raw).expect(raw);
        assert_eq!(file.hash().to_string(), hash, "{raw:?}");
        assert_eq!(file.hash().short(), hash[..7]);
    }
    let file = UnitFile::parse("[Service]\nExecStart=/bin/sleep 1\n").expect("valid");
    let bytes = [
        2, 145, 241, 46, 55, 153, 33, 2, 92, 96, 62, 69, 76, 15, 233, 137, 221, 176, 243, 221,
    ];
    assert_eq!(file.hash().as_bytes(), &bytes);
}

#[test]
fn text_before_the_first_section_is_ignored() {
    check(
        "This=Ignored\n[Unit]\n;c\nDescription = Foo",
        "4 Unit.Description = \"Foo\"\n",
    );
    // A bracket within ignored text, or in a comment, begins no section.
    check("see [this]\n# [X]\n[Unit]\nA=b", "4 Unit.A = \"b\"\n");
    check("", "");
    check("# only a comment\n", "");
    check("[Unit]\n", "");
}

#[test]
fn text_without_any_section_is_refused() {
    check(
        "\nHello=world\nAnd=more\n",
        "line 2: the text is in no section, and the file has none. \
         Options belong below a section, for example [Service]\n",
    );
    check(
        "Foo=a \\\n[Service]\nA=b\n",
        "line 1: a line before the first section ends in a backslash. \
         Remove the line, or put it below a section\n",
    );
}

#[test]
fn blanks_around_names_and_values_vanish_and_others_stay() {
    check(
        "  [Unit]  \n\t Description \t=\t a  b \t\n",
        "2 Unit.Description = \"a  b\"\n",
    );
    check("[ Unit ]\nA=b", "2  Unit .A = \"b\"\n");
    check(
        "[Unit]\n<<<<=bar\nA=b=c\n",
        "2 Unit.<<<< = \"bar\"\n3 Unit.A = \"b=c\"\n",
    );
}

#[test]
fn repeated_and_empty_options_stay_in_order() {
    check(
        "[S]\nA=1\nA=\n[T]\nB=2\n[S]\nA=3\nA=3\n",
        "2 S.A = \"1\"\n3 S.A = \"\"\n5 T.B = \"2\"\n7 S.A = \"3\"\n8 S.A = \"3\"\n",
    );
    let file = UnitFile::parse("[S]\nA=1\nA=\n[T]\nB=2\n[S]\nA=3\n").expect("valid");
    assert_eq!(file.canonical(), "[S]\nA=1\nA=\nA=3\n\n[T]\nB=2\n");
    assert_eq!(file.sections(), ["S", "T"]);
    assert_eq!(file.get_all("S", "A").collect::<Vec<_>>(), ["1", "", "3"]);
    assert_eq!(file.get_all("S", "a").count(), 0);
}

#[test]
fn continuations_are_kept_verbatim() {
    check(
        "[S]\nExecStart=echo \\\n  \"pi\\\n  ng\"\nA=b\n",
        "2 S.ExecStart = \"echo \\\\\\n  \\\"pi\\\\\\n  ng\\\"\"\n5 S.A = \"b\"\n",
    );
    check(
        "[S]\nExecStop=\\\necho \"po\\\nng\"\n",
        "2 S.ExecStop = \"\\\\\\necho \\\"po\\\\\\nng\\\"\"\n",
    );
    // A section header or an option in a continuation is part of the value.
    check(
        "[S]\nA=x \\\n[T]\nB=y\n",
        "2 S.A = \"x \\\\\\n[T]\"\n4 S.B = \"y\"\n",
    );
}

#[test]
fn a_blank_line_or_the_end_ends_a_continuation() {
    check(
        "[S]\nA=x \\\n\nB=y\n",
        "2 S.A = \"x \\\\\\n\"\n4 S.B = \"y\"\n",
    );
    check(
        "[S]\nA=x \\\n \t\nB=y\n",
        "2 S.A = \"x \\\\\\n\"\n4 S.B = \"y\"\n",
    );
    check("[S]\nA=x \\\n", "2 S.A = \"x \\\\\\n\"\n");
    check("[S]\nA=x \\", "2 S.A = \"x \\\\\\n\"\n");
}

#[test]
fn only_an_unescaped_backslash_at_the_very_end_continues() {
    check(
        "[S]\nA=x\\\\\nB=y\n",
        "2 S.A = \"x\\\\\\\\\"\n3 S.B = \"y\"\n",
    );
    check("[S]\nA=x\\\\\\\nB=y\n", "2 S.A = \"x\\\\\\\\\\\\\\nB=y\"\n");
    // A blank behind it: not continued, and not continued either once it is printed and read again.
    let raw = "[S]\nA=x\\ \nB=y\n";
    check(raw, "2 S.A = \"x\\\\\"\n3 S.B = \"y\"\n");
    assert_eq!(UnitFile::parse(raw).expect("valid").canonical(), raw);
}

#[test]
fn comments_end_with_their_line() {
    check(
        "[S]\n# a \\\nA=1\n  ; b\nB=2 # not a comment\n",
        "3 S.A = \"1\"\n5 S.B = \"2 # not a comment\"\n",
    );
    check(
        "[S]\n#A=1 \\\n  2\n",
        "line 3: \"2\" is not an option: it has no \"=\". \
         A comment is not continued by a backslash: begin this line with # too\n",
    );
}

#[test]
fn comments_do_not_end_a_continuation() {
    check(
        "[S]\nA=x \\\n# c\n ; d \\\n  y\nB=z\n",
        "2 S.A = \"x \\\\\\n# c\\n ; d \\\\\\n  y\"\n6 S.B = \"z\"\n",
    );
    check(
        "[S]\nA=x \\\n# c\n\nB=z\n",
        "2 S.A = \"x \\\\\\n# c\\n\"\n5 S.B = \"z\"\n",
    );
    let file = UnitFile::parse("[S]\nA=x \\\n# c \\\n  y\\\\\n").expect("valid");
    assert_eq!(file.options()[0].joined_value(), "x    y\\\\");
}

#[test]
fn windows_line_ends_and_the_byte_order_mark_change_nothing() {
    let unix = "[Unit]\nDescription=a\n\n[Service]\nExecStart=/bin/a \\\n  b\n";
    let windows = format!("\u{feff}{}", unix.replace('\n', "\r\n"));
    assert_eq!(read(unix), read(&windows));
    let file = UnitFile::parse(windows.as_str()).expect("valid");
    assert_eq!(file.raw(), windows);
    assert_eq!(file.hash(), UnitFile::parse(unix).expect("valid").hash());
    assert_ne!(
        file.file_hash(),
        UnitFile::parse(unix).expect("valid").file_hash()
    );
    check(
        "[S]\nA=1\rB=2\n",
        "line 2: carriage return in the middle of a line. \
         End lines with a line feed, with or without a carriage return before it\n",
    );
}

#[test]
fn all_errors_are_told_at_once_each_with_its_line() {
    insta::assert_snapshot!(
        read("[Unit]\nnonsense upon stilts\n\n[Service\nA=1\n[Install] now\n=x\nB=\\\nC\n  spread \\\n  over\nD"),
        @r#"
    line 2: "nonsense upon stilts" is not an option: it has no "=". Write it as Name=value, or begin the line with # to make it a comment
    line 4: unable to find end of section. Write the section as [Name] on one line
    line 6: found garbage after section name Install: "now". Put it on a line of its own
    line 7: there is no option name before the "=". Write it as Name=value
    line 10: "spread \" is not an option: it has no "=". Write it as Name=value, or begin the line with # to make it a comment
    line 12: "D" is not an option: it has no "=". Write it as Name=value, or begin the line with # to make it a comment
    "#
    );
    insta::assert_snapshot!(
        read("[Service]\nExecStart=/bin/a \\ \n  b\nExecStop=a\\\\\n  b\n"),
        @r#"
    line 3: "b" is not an option: it has no "=". To continue the line before it, end that in one backslash with nothing behind it
    line 5: "b" is not an option: it has no "=". To continue the line before it, end that in one backslash with nothing behind it
    "#
    );
}

#[test]
fn bytes_that_are_not_text_are_refused_with_their_line() {
    let error = UnitFile::from_bytes(b"[S]\nA=1\nB=\xff\n")
        .expect_err("not UTF-8")
        .to_string();
    assert_eq!(
        error,
        "line 3: unit file is not valid UTF-8. Save the file as UTF-8 text"
    );
    let error = UnitFile::from_bytes(b"[S]\nA=1\0\n")
        .expect_err("NUL")
        .to_string();
    assert_eq!(
        error,
        "line 2: unit file holds a NUL byte. A unit file is text; remove the byte"
    );
    assert!(UnitFile::from_bytes("[S]\nA=ü\n".as_bytes()).is_ok());
}

#[test]
fn a_file_may_have_64_kib_and_no_byte_more() {
    let head = "[S]\nA=";
    let full = format!("{head}{}", "x".repeat(MAX_FILE_BYTES - head.len()));
    assert_eq!(
        UnitFile::parse(full.as_str())
            .expect("as large as allowed")
            .raw(),
        full
    );
    let over = format!("{full}x");
    let text = "unit file is 65537 bytes long, and the limit is 65536 bytes (64 KiB). \
                Move scripts and data out of the unit into files of their own";
    assert_eq!(
        UnitFile::parse(over.as_str())
            .expect_err("too large")
            .to_string(),
        text
    );
    assert_eq!(
        UnitFile::from_bytes(over.as_bytes())
            .expect_err("too large")
            .to_string(),
        text
    );
}

#[test]
fn long_lines_and_odd_texts_come_back_byte_for_byte() {
    let long = format!(
        "[Service]\nExecStart=/bin/sh -c '{}'\n",
        "echo %i \\\"x\\\"; ".repeat(800)
    );
    assert!(long.len() > 10_000);
    for raw in [
        long.as_str(),
        "\u{feff}\r\n\r\n# c\r\n[Service]\r\nExecStart=/bin/a \\\r\n\t b\r\nExecStart=\r\nExecStart=%%x \"a b\"\r\n\r\n\r\n",
        "[Service]\nExecStart=/bin/a \\\n\n\n\n[Install]\n\n",
        "[Service]",
        "\n\n\n",
    ] {
        let file = UnitFile::parse(raw).expect(raw);
        assert_eq!(file.raw(), raw);
        assert_eq!(UnitFile::from_bytes(raw.as_bytes()).expect(raw), file);
    }
    let file = UnitFile::parse(long.as_str()).expect("valid");
    assert_eq!(file.canonical(), long);
}

#[test]
fn errors_without_end_are_counted_and_not_told() {
    let raw = format!("[S]\n{}", "x\n".repeat(1000));
    let errors = UnitFile::parse(raw).expect_err("not options");
    assert_eq!(errors.as_slice().len(), MAX_ERRORS + 1);
    let last = errors.iter().last().map(|error| error.kind.clone());
    assert_eq!(
        last,
        Some(ErrorKind::More {
            count: 1000 - MAX_ERRORS
        })
    );
}

#[test]
fn options_become_a_file() {
    let file = UnitFile::from_options(&[
        ("Service", "ExecStart", "/bin/a \\\n  b"),
        ("Install", "WantedBy", "x.target"),
        ("Service", "Restart", " no "),
        ("Service", "Odd", "x\\"),
    ])
    .expect("all can be written");
    let raw = "[Service]\nExecStart=/bin/a \\\n  b\nRestart=no\nOdd=x\\ \n\n[Install]\nWantedBy=x.target\n";
    assert_eq!(file.raw(), raw);
    assert_eq!(file.canonical(), raw);
    assert_eq!(
        UnitFile::from_options::<&str>(&[]).expect("nothing").raw(),
        ""
    );
}

#[test]
fn options_that_no_file_can_hold_are_refused() {
    for option in [
        ("S", "A", "x\ny"),
        ("S", "A", "x\n[T]\nB=y"),
        ("S", "A", "x\\\n\nB=y"),
        ("S", "A\nB", "x"),
        ("S", "A=B", "x"),
        ("S", "#A", "x"),
        ("S", "[A", "x"),
        ("S", " ", "x"),
        ("S]", "A", "x"),
        ("S\n", "A", "x"),
        ("S", "A", "x\0"),
        ("S", "A", "x\ry"),
    ] {
        let error = UnitFile::from_options(&[("S", "Good", "x"), option]).expect_err(option.2);
        assert_eq!(error.as_slice().len(), 1);
        let kind = &error.as_slice()[0].kind;
        assert!(
            matches!(kind, ErrorKind::NotRepresentable { name, .. } if name == option.1),
            "{option:?}: {kind}"
        );
    }
    let long = "x".repeat(MAX_FILE_BYTES);
    let error = UnitFile::from_options(&[("S", "A", long.as_str())]).expect_err("too large");
    assert!(matches!(
        error.as_slice()[0].kind,
        ErrorKind::FileTooLarge { .. }
    ));
}

#[test]
fn install_and_description_are_found() {
    let file =
        UnitFile::parse("[Unit]\nDescription=a\nDescription=b c\n[Install]\n").expect("valid");
    assert_eq!(file.description(), Some("b c"));
    assert!(
        !file.has_install(),
        "a section without options enables nothing"
    );
    let file =
        UnitFile::parse("[Unit]\nDescription=\n[Install]\nWantedBy=a.target\n").expect("valid");
    assert_eq!(file.description(), None);
    assert!(file.has_install());
}
