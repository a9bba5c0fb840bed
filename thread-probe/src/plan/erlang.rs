//! How many threads a rate of requests needs: queueing theory's M/M/n.

/// The least number of servers with which at most a share `waiting_ratio` of all requests has to wait, where `offered`
/// are busy on average; and that share. `None` where `offered` is no load, or over a million.
///
/// Erlang C by way of Erlang B, which is numerically stable step by step:
/// `B(n) = a B(n-1) / (n + a B(n-1))`, `C = n B / (n - a (1 - B))`.
pub(super) fn servers(offered: f64, waiting_ratio: f64) -> Option<(u64, f64)> {
    const MOST: f64 = 1e6;
    if !(0.0..=MOST).contains(&offered) {
        return None;
    }
    let mut lost = 1.0;
    // Far above the load nobody waits, so it ends.
    for servers in 1_u32.. {
        let n = f64::from(servers);
        lost = offered * lost / (n + offered * lost);
        let waiting = n * lost / (n - offered * (1.0 - lost));
        if n > offered && waiting <= waiting_ratio {
            return Some((u64::from(servers), waiting));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// By the sum of its definition, which overflows soon.
    fn by_definition(offered: f64, servers: u32) -> f64 {
        let term = |n: u32| (1..=n).fold(1.0, |term, k| term * offered / f64::from(k));
        let last = term(servers) * f64::from(servers) / (f64::from(servers) - offered);
        last / ((0..servers).map(term).sum::<f64>() + last)
    }

    #[test]
    fn one_server_is_as_busy_as_it_is_loaded() {
        // M/M/1: a request waits as often as the server is busy.
        assert!((by_definition(0.5, 1) - 0.5).abs() < 1e-12);
        assert_eq!(servers(0.01, 0.01).map(|(servers, _)| servers), Some(1));
        assert_eq!(servers(0.0, 0.01), Some((1, 0.0)));
    }

    #[test]
    fn what_tables_say_of_ten_erlangs() {
        // Of the usual tables: 10 Erlangs at 15 servers, 10 % wait.
        assert!((by_definition(10.0, 15) - 0.102).abs() < 0.001, "{}", by_definition(10.0, 15));
        assert_eq!(servers(10.0, 0.103).map(|(servers, _)| servers), Some(15));
    }

    #[test]
    fn what_is_no_load_has_no_answer_and_what_is_large_has_one() {
        for load in [-1.0, f64::NAN, f64::INFINITY, 2e6] {
            assert_eq!(servers(load, 0.01), None, "{load}");
        }
        let (many, waiting) = servers(1e6, 0.01).unwrap_or_default();
        assert!((1_000_000..1_010_000).contains(&many) && waiting <= 0.01, "{many} {waiting}");
    }

    proptest! {
        #[test]
        fn it_is_the_least_number_that_does(offered in 0.001..60.0, waiting_ratio in 0.001..0.5) {
            let (least, waiting) = servers(offered, waiting_ratio).unwrap_or_default();
            prop_assert!((0.0..=waiting_ratio).contains(&waiting));
            prop_assert!((by_definition(offered, least as u32) - waiting).abs() < 1e-9);
            let one_less = least as u32 - 1;
            if f64::from(one_less) > offered {
                prop_assert!(by_definition(offered, one_less) > waiting_ratio);
            }
        }

        #[test]
        fn more_load_never_needs_fewer(offered in 0.0..1000.0, more in 0.0..100.0) {
            prop_assert!(servers(offered, 0.01) .map(|of| of.0) <= servers(offered + more, 0.01).map(|of| of.0));
        }
    }
}
