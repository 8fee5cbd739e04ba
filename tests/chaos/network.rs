//! Loss and delay of what a machine sends and of what is sent to it: loss by nftables on the bridge, delay by tc at both ends of its
//! cable. The machine's other neighbours notice nothing.

use crate::lab::Lab;

/// Long and uneven, and some packets are lost. Of a kernel that has it.
const NETEM: &[&str] = &["netem", "delay", "400ms", "300ms", "loss", "2%"];

/// Without netem: so narrow that a packet of 200 bytes takes 100 ms, those behind it wait, and what would wait for more than
/// 2 s is lost.
const NARROW: &[&str] = &[
    "tbf", "rate", "16kbit", "burst", "1600", "latency", "2000ms",
];

/// Which packets, seen from the machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    From,
    To,
}

/// Loses packets that `also` matches, a rule of nftables; all if it is empty.
pub(crate) fn lose(lab: &Lab, machine: &str, way: Way, also: &str) {
    let (hook, side) = match way {
        Way::From => ("prerouting", "iifname"),
        Way::To => ("postrouting", "oifname"),
    };
    let text = format!(
        "table bridge chaos-{machine} {{\n chain {hook} {{\n type filter hook {hook} priority 0; policy accept;\n \
         {side} \"vb-{machine}\" {also} drop\n }}\n}}\n"
    );
    let line = format!("printf '%s' '{text}' | nft -f -");
    run(lab, &["sh", "-c", &line]);
}

pub(crate) fn lose_no_more(lab: &Lab, machine: &str) {
    let table = format!("chaos-{machine}");
    run(lab, &["nft", "delete", "table", "bridge", &table]);
}

/// Delays all packets, both ways.
pub(crate) fn delay(lab: &Lab, machine: &str) {
    let outside = format!("vb-{machine}");
    let how = if shape(lab, "add", &outside, NETEM) {
        NETEM
    } else {
        println!("      this kernel has no netem: a narrow line instead");
        assert!(shape(lab, "add", &outside, NARROW));
        NARROW
    };
    let words = [&["tc", "qdisc", "add", "dev", "host0", "root"], how].concat();
    let inside = lab.machine(machine).run(&words).unwrap();
    inside.success().unwrap();
}

pub(crate) fn delay_no_more(lab: &Lab, machine: &str) {
    let outside = format!("vb-{machine}");
    assert!(shape(lab, "del", &outside, &[]));
    let words = ["tc", "qdisc", "del", "dev", "host0", "root"];
    let inside = lab.machine(machine).run(&words).unwrap();
    inside.success().unwrap();
}

/// False if the kernel cannot.
fn shape(lab: &Lab, verb: &str, device: &str, how: &[&str]) -> bool {
    let words = [&["tc", "qdisc", verb, "dev", device, "root"], how].concat();
    lab.bed.run(&words).unwrap().status.success()
}

fn run(lab: &Lab, words: &[&str]) {
    lab.bed.run(words).unwrap().success().unwrap();
}
