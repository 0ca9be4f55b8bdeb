//! OCSF 1.8.0 as types: the attributes that slmguard fills, of the classes that it emits
//! (<https://schema.ocsf.io/1.8.0>). A field's name is the attribute's; what each means is the
//! schema's to say. Knows no alert.

use super::super::{object::objects, own::Own};

objects! {
    /// Detection Finding, class 2004.
    Finding {
        /// 1 create, 2 update, 3 close.
        activity_id: u32,
        /// The word for it.
        activity_name: &'static str,
        /// 2.
        category_uid: u32,
        /// `Findings`.
        category_name: &'static str,
        /// 2004.
        class_uid: u32,
        /// `Detection Finding`.
        class_name: &'static str,
        /// Class and activity in one number.
        type_uid: u32,
        /// The same in words.
        type_name: String,
        /// When, milliseconds since the epoch.
        time: i64,
        /// First occurrence, milliseconds since the epoch.
        start_time: Option<i64>,
        /// Last occurrence, milliseconds since the epoch.
        end_time: Option<i64>,
        /// Occurrences.
        count: u64,
        /// How bad: 1 informational to 5 critical.
        severity_id: u32,
        /// The word for it.
        severity: &'static str,
        /// 1 new, 4 resolved.
        status_id: u32,
        /// The word for it.
        status: &'static str,
        /// What the guard did.
        action_id: u32,
        /// The word for it.
        action: &'static str,
        /// What came of it.
        disposition_id: u32,
        /// The word for it.
        disposition: &'static str,
        /// True.
        is_alert: bool,
        /// What happened, in one line.
        message: String,
        /// What was found.
        finding_info: FindingInfo,
        /// Observed against learned.
        anomaly_analyses: Vec<AnomalyAnalysis>,
        /// Who did what.
        evidences: Vec<Evidence>,
        /// Techniques; the schema asks for them here and in `finding_info`.
        attacks: Vec<Attack>,
        /// The policy that decided.
        policy: Policy,
        /// Where.
        device: Device,
        /// About the event itself.
        metadata: Metadata,
        /// What has no place in the schema.
        unmapped: Unmapped,
    }

    /// Object `metadata`.
    Metadata {
        /// Version of OCSF.
        version: &'static str,
        /// Who reports.
        product: Product,
        /// Profiles that the event makes use of.
        profiles: Vec<&'static str>,
        /// Id of the event: the alert's.
        uid: String,
        /// Kind of the alert.
        event_code: String,
        /// The same for all events about one process.
        correlation_uid: String,
        /// `alerts` or `events`.
        log_name: &'static str,
        /// `slmguard`.
        log_provider: &'static str,
        /// When, as the alert has it (microseconds).
        original_time: String,
    }

    /// Object `product`.
    Product {
        /// Name.
        name: &'static str,
        /// Vendor.
        vendor_name: &'static str,
        /// Version.
        version: &'static str,
    }

    /// Object `finding_info`.
    FindingInfo {
        /// The same for all alerts about the same thing.
        uid: String,
        /// What sort of thing and what became of it.
        title: String,
        /// The reasons.
        desc: String,
        /// Kind.
        types: Vec<String>,
        /// What found it.
        analytic: Analytic,
        /// Techniques.
        attacks: Vec<Attack>,
        /// Hook and tier.
        data_sources: Vec<String>,
        /// When the alert was made, milliseconds since the epoch.
        created_time: i64,
        /// First occurrence, milliseconds since the epoch.
        first_seen_time: Option<i64>,
        /// Last occurrence, milliseconds since the epoch.
        last_seen_time: Option<i64>,
        /// Steps that came before in the same episode.
        related_events: Vec<RelatedEvent>,
        /// How many.
        related_events_count: Option<u32>,
    }

    /// Object `analytic`.
    Analytic {
        /// `slmguard.connect`.
        uid: String,
        /// The kind in words.
        name: String,
        /// 2 behavioural, 3 statistical, 5 fingerprinting.
        type_id: u32,
        /// The word for it.
        r#type: &'static str,
        /// Version of the product.
        version: &'static str,
    }

    /// Object `attack`.
    Attack {
        /// The tactic, where the technique serves one only.
        tactic: Option<Named>,
        /// The technique.
        technique: Named,
        /// The part of it.
        sub_technique: Option<Named>,
        /// Version of the matrix.
        version: &'static str,
    }

    /// Objects `tactic`, `technique`, `sub_technique`.
    Named {
        /// Id.
        uid: String,
        /// Name, where the list has the id.
        name: Option<&'static str>,
    }

    /// Object `related_event`.
    RelatedEvent {
        /// Of the alert, and the number of the step.
        uid: String,
        /// `inbound`, `read`, `exec`, `egress`.
        r#type: String,
        /// Peer, file, program or destination.
        title: String,
        /// Milliseconds since the epoch.
        first_seen_time: i64,
    }

    /// Object `anomaly_analysis`.
    AnomalyAnalysis {
        /// Workload, role and phase.
        analysis_targets: Vec<AnalysisTarget>,
        /// What was observed.
        anomalies: Vec<Pattern>,
        /// What is known instead.
        baselines: Vec<Pattern>,
    }

    /// Object `analysis_target`.
    AnalysisTarget {
        /// Name.
        name: String,
        /// `workload`, `role`, `phase`.
        r#type: &'static str,
    }

    /// Objects `anomaly` and `baseline`.
    Pattern {
        /// What was looked at.
        observation_parameter: &'static str,
        /// How.
        observation_type: &'static str,
        /// The values.
        observations: Vec<Observed>,
    }

    /// Object `observation`.
    Observed {
        /// Destination, path or name.
        value: String,
        /// Occurrences.
        count: Option<u64>,
    }

    /// Object `evidences`.
    Evidence {
        /// Who.
        process: Process,
        /// The destination.
        dst_endpoint: Option<Endpoint>,
        /// How it was reached.
        connection_info: Option<ConnectionInfo>,
        /// The file.
        file: Option<File>,
        /// The name that was looked up.
        query: Option<DnsQuery>,
    }

    /// Object `process`.
    Process {
        /// Process id.
        pid: u32,
        /// Process id and start, together never reused.
        uid: String,
        /// Name of the program.
        name: Option<String>,
        /// Path of the program.
        path: Option<String>,
        /// The program.
        file: Option<File>,
        /// Arguments as a shell would take them.
        cmd_line: Option<String>,
        /// Whose.
        user: Option<User>,
        /// Who started it.
        parent_process: Option<ProcessEntity>,
        /// Parent, grandparent, …
        ancestry: Vec<ProcessEntity>,
    }

    /// Object `process_entity`.
    ProcessEntity {
        /// Process id.
        pid: Option<u32>,
        /// Name of the program.
        name: Option<String>,
        /// Path of the program.
        path: String,
    }

    /// Object `user`.
    User {
        /// Number.
        uid: String,
    }

    /// Object `file`.
    File {
        /// Last component.
        name: String,
        /// Path.
        path: String,
        /// 0 unknown, 1 regular, 2 folder, 5 socket, 7 symbolic link, 8 executable.
        type_id: u32,
        /// The word for it.
        r#type: &'static str,
        /// Bytes.
        size: Option<u64>,
    }

    /// Object `network_endpoint`.
    Endpoint {
        /// Address.
        ip: Option<String>,
        /// Port.
        port: Option<u32>,
        /// Name that the workload was given the address for.
        hostname: Option<String>,
        /// Of a unix socket: its path, or `@` and its abstract name.
        name: Option<String>,
        /// Of a port of the workload's own, whatever the address.
        svc_name: Option<String>,
    }

    /// Object `network_connection_info`.
    ConnectionInfo {
        /// 1 inbound, 2 outbound, 4 local.
        direction_id: u32,
        /// The word for it.
        direction: &'static str,
        /// `tcp`, `udp`, `unix`, or a number.
        protocol_name: String,
        /// IP protocol number.
        protocol_num: Option<u32>,
    }

    /// Object `dns_query`.
    DnsQuery {
        /// The name.
        hostname: String,
    }

    /// Object `policy`.
    Policy {
        /// Fingerprint, in hexadecimal digits.
        uid: String,
        /// Whose.
        name: String,
    }

    /// Object `device`.
    Device {
        /// Host name.
        hostname: String,
        /// 0: nothing says what machine it is.
        type_id: u32,
        /// The word for it.
        r#type: &'static str,
        /// Linux.
        os: Os,
    }

    /// Object `os`.
    Os {
        /// `Linux`.
        name: &'static str,
        /// 200.
        type_id: u32,
    }

    /// Object `unmapped`.
    Unmapped {
        /// Ours.
        slmguard: Own,
    }

    /// Object `actor`.
    Actor {
        /// Who.
        process: Process,
    }

    /// Object `network_traffic`.
    Traffic {
        /// Bytes received.
        bytes_in: u64,
        /// Bytes sent.
        bytes_out: u64,
        /// Both.
        bytes: u64,
    }
}
