use std::time::Duration;

use super::*;
use crate::counters::Took;
use crate::health::Outcome;
use crate::stats::{Checks, Sessions};

fn row(kind: Kind, name: &str) -> Row {
    Row {
        kind,
        name: name.to_owned(),
        is_http: true,
        iid: 7,
        sid: 0,
        sessions: Sessions {
            now: 0,
            max: 0,
            total: 0,
            rate: (0, 0),
            last: None,
        },
        bytes: (0, 0),
        requests: 0,
        request_rate: (0, 0),
        request_errors: 0,
        denied_requests: 0,
        client_aborts: 0,
        server_aborts: 0,
        connect_errors: 0,
        response_errors: 0,
        retries: 0,
        redispatches: 0,
        responses: [0; 6],
        status: Status::Open,
        since: Duration::ZERO,
        weight: 1,
        n_active: 1,
        checks: None,
        outages: (0, Duration::ZERO),
        times: Took::default(),
    }
}

fn server(name: &str, sid: u64, status: Status, since: u64, last: Option<Outcome>) -> Row {
    Row {
        sid,
        status,
        since: Duration::from_secs(since),
        checks: (status != Status::Unchecked).then_some(Checks {
            n_failed: 0,
            n_down: 0,
            downtime: Duration::from_secs(if status == Status::Maintenance { 5 } else { 0 }),
            last,
            is_checking: false,
        }),
        ..row(Kind::Server, name)
    }
}

fn outcome(code: &'static str, status: Option<u16>, text: &str) -> Option<Outcome> {
    Some(Outcome {
        code,
        status,
        text: text.to_owned(),
        took: Duration::from_millis(4100),
    })
}

/// The contract's example rows of the lab's idle page.
#[test]
fn rows_are_the_labs() {
    // contract: lb-csv-fields, lb-csv-form, lb-states, lb-exactly-up
    let frontend = Row {
        iid: 6,
        ..row(Kind::Frontend, "FRONTEND")
    };
    let backend = Row {
        status: Status::Up,
        since: Duration::from_secs(197),
        weight: 4,
        n_active: 4,
        ..row(Kind::Backend, "BACKEND")
    };
    let proxies = [
        Proxy {
            name: "zdd_blue_10080".to_owned(),
            rows: vec![frontend],
        },
        Proxy {
            name: "zdd_blue_10080".to_owned(),
            rows: vec![
                server(
                    "10_0_3_192_3238",
                    1,
                    Status::Up,
                    199,
                    outcome("L7OK", Some(200), "OK"),
                ),
                server(
                    "10_0_3_192_9383",
                    2,
                    Status::Maintenance,
                    5,
                    outcome("L7OK", Some(200), "OK"),
                ),
                server("a", 3, Status::GoingDown(1, 4), 5, None),
                server(
                    "b",
                    4,
                    Status::Down,
                    5,
                    outcome("L4CON", None, "Connection refused, \"so\""),
                ),
                server("c", 5, Status::Unchecked, 5, None),
                backend,
            ],
        },
    ];
    let text = render(&proxies);
    assert!(text.ends_with(",\n"));
    assert!(
        text.lines()
            .all(|line| !line.is_empty() && line.split(',').count() == 63)
    );
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[0],
        "# pxname,svname,qcur,qmax,scur,smax,slim,stot,bin,bout,dreq,dresp,ereq,econ,eresp,wretr,wredis,status,weight,act,bck,\
         chkfail,chkdown,lastchg,downtime,qlimit,pid,iid,sid,throttle,lbtot,tracked,type,rate,rate_lim,rate_max,check_status,\
         check_code,check_duration,hrsp_1xx,hrsp_2xx,hrsp_3xx,hrsp_4xx,hrsp_5xx,hrsp_other,hanafail,req_rate,req_rate_max,\
         req_tot,cli_abrt,srv_abrt,comp_in,comp_out,comp_byp,comp_rsp,lastsess,last_chk,last_agt,qtime,ctime,rtime,ttime,"
    );
    assert_eq!(
        lines[1],
        "zdd_blue_10080,FRONTEND,,,0,0,10000,0,0,0,0,0,0,,,,,OPEN,,,,,,,,,1,6,0,,,,0,0,0,0,,,,0,0,0,0,0,0,,0,0,0,,,0,0,0,0,,,,,,,,"
    );
    assert_eq!(
        lines[2],
        "zdd_blue_10080,10_0_3_192_3238,0,0,0,0,,0,0,0,,0,,0,0,0,0,UP,1,1,0,0,0,199,0,,1,7,1,,0,,2,0,,0,L7OK,200,4100,0,0,0,0,0,0,0,,,,0,0,,,,,-1,OK,,0,0,0,0,"
    );
    assert_eq!(
        lines[3],
        "zdd_blue_10080,10_0_3_192_9383,0,0,0,0,,0,0,0,,0,,0,0,0,0,MAINT,1,1,0,0,0,5,5,,1,7,2,,0,,2,0,,0,,,,0,0,0,0,0,0,0,,,,0,0,,,,,-1,,,0,0,0,0,"
    );
    let cells = |line: usize| lines[line].split(',').collect::<Vec<_>>();
    assert_eq!(cells(4)[17], "UP 1/4");
    assert_eq!(cells(4)[36], "INI");
    assert_eq!(
        (cells(5)[17], cells(5)[36], cells(5)[37], cells(5)[56]),
        ("DOWN", "L4CON", "", "Connection refused_ _so_")
    );
    assert_eq!(
        (cells(6)[17], cells(6)[21], cells(6)[36]),
        ("no check", "", "")
    );
    assert_eq!(
        lines[7],
        "zdd_blue_10080,BACKEND,0,0,0,0,1000,0,0,0,0,0,,0,0,0,0,UP,4,4,0,,0,197,0,,1,7,0,,0,,1,0,,0,,,,0,0,0,0,0,0,,,,,0,0,0,0,0,0,-1,,,0,0,0,0,"
    );
}

/// Every number has its place.
#[test]
fn what_is_counted_is_shown() {
    // contract: lb-csv-fields, lb-csv-counts
    let counted = |kind| Row {
        requests: 1,
        request_rate: (2, 3),
        request_errors: 4,
        denied_requests: 5,
        connect_errors: 6,
        response_errors: 7,
        retries: 8,
        redispatches: 9,
        client_aborts: 10,
        server_aborts: 11,
        outages: (12, Duration::from_secs(13)),
        times: Took {
            connect: Duration::from_millis(14),
            response: Duration::from_millis(15),
            total: Duration::from_millis(16),
        },
        ..row(kind, "x")
    };
    let rows = [Kind::Frontend, Kind::Backend, Kind::Server].map(counted);
    let text = render(&[Proxy {
        name: "p".to_owned(),
        rows: rows.into(),
    }]);
    let lines: Vec<&str> = text.lines().collect();
    let names: Vec<&str> = lines[0].trim_start_matches("# ").split(',').collect();
    let shown = |line: &str| {
        let cells = names.iter().zip(line.split(','));
        let large = cells.filter(|(name, cell)| {
            let number = cell.parse().unwrap_or(0);
            (1..=16).contains(&number) && !["pid", "iid", "type", "weight", "act"].contains(name)
        });
        let words: Vec<_> = large.map(|(name, cell)| format!("{name} {cell}")).collect();
        words.join(", ")
    };
    let upstream = "econ 6, eresp 7, wretr 8, wredis 9";
    let end = "cli_abrt 10, srv_abrt 11, ctime 14, rtime 15, ttime 16";
    assert_eq!(
        shown(lines[1]),
        "dreq 5, ereq 4, req_rate 2, req_rate_max 3, req_tot 1"
    );
    let outages = "chkdown 12, downtime 13";
    assert_eq!(
        shown(lines[2]),
        format!("dreq 5, {upstream}, {outages}, {end}")
    );
    assert_eq!(shown(lines[3]), format!("{upstream}, {end}"));
}
