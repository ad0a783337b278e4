use super::{
    AuthorityFigures, FileFigures, KeyFigures, Metrics, RedisFigures, ReloadFigures, RevocationFigures,
    Upkeep,
};
use crate::denial::Reason;
use crate::telemetry::sink::Sink;
use crate::telemetry::tally::{Decision, Finished};
use crate::telemetry::tracing::export::SpanFigures;
use std::time::Duration;

#[test]
#[expect(clippy::too_many_lines, reason = "one scrape, line by line")]
fn the_figures_of_all_workers_are_summed() {
    let metrics = Metrics::new(Sink::new(std::io::sink()), None, false);
    for _ in 0..2 {
        let tally = metrics.worker();
        tally.connections.increment();
        tally.authenticator(&"auth0".into()).success.increment();
        tally.route(&"/a".into()).finished(&Finished {
            method: "GET",
            status: http::StatusCode::FORBIDDEN,
            decision: Decision::Deny,
            reason: Reason::RoleMissing,
            duration: Duration::from_millis(2),
        });
    }
    let keys = KeyFigures {
        authenticator: "auth0".into(),
        successes: 3,
        errors: 1,
        last_success: Some(1_800_000_000),
        ignored: 2,
    };
    let figures = |name: Option<&str>| AuthorityFigures {
        authenticator: name.map(Into::into),
        successes: 5,
        errors: 0,
    };
    let file = FileFigures { authenticator: "keys".into(), successes: 2, errors: 1 };
    let authorities = vec![figures(Some("opaque")), figures(None)];
    let text = metrics.render(&Upkeep {
        keys: vec![keys],
        authorities,
        files: vec![file],
        redis: Some(RedisFigures { is_up: true, successes: 3, errors: 6 }),
        revocations: Some(RevocationFigures { held: 8, age: Some(Duration::from_millis(9900)) }),
        spans: Some(SpanFigures { sent: 11, lost: 12 }),
        assertion_key: Some(ReloadFigures { successes: 4, errors: 2 }),
        configuration: Some((ReloadFigures { successes: 7, errors: 1 }, 1_800_000_001)),
    });
    for line in [
        "sidegate_connections 2",
        "sidegate_requests_total{code=\"403\",method=\"GET\",route=\"/a\"} 2",
        "sidegate_decisions_total{decision=\"deny\",reason=\"role_missing\",route=\"/a\"} 2",
        "sidegate_request_duration_seconds_bucket{route=\"/a\",le=\"0.001\"} 0",
        "sidegate_request_duration_seconds_bucket{route=\"/a\",le=\"0.0025\"} 2",
        "sidegate_request_duration_seconds_count{route=\"/a\"} 2",
        "sidegate_authentications_total{authenticator=\"auth0\",result=\"success\"} 2",
        "sidegate_token_cache_lookups_total{result=\"hit\"} 0",
        "sidegate_api_key_reloads_total{authenticator=\"keys\",result=\"success\"} 2",
        "sidegate_jwks_refreshes_total{authenticator=\"auth0\",result=\"error\"} 1",
        "sidegate_authority_requests_total{authenticator=\"opaque\",result=\"success\"} 5",
        "sidegate_entitlement_fetches_total{result=\"error\"} 0",
        "sidegate_jwks_last_success_timestamp_seconds{authenticator=\"auth0\"} 1800000000",
        "sidegate_assertion_key_reloads_total{result=\"error\"} 2",
        "sidegate_redis_up 1",
        "sidegate_spans_total{result=\"error\"} 12",
        "sidegate_revocations 8",
        "sidegate_revocation_list_age_seconds 9",
        "sidegate_redis_commands_total{result=\"error\"} 6",
        "sidegate_config_reloads_total{result=\"success\"} 7",
        "sidegate_config_last_reload_success_timestamp_seconds 1800000001",
    ] {
        assert!(text.lines().any(|have| have == line), "{line} is not in\n{text}");
    }
}
