// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The Kubernetes objects that Weft reads, as plain validated values: only the fields that decide something here.
// A value of these types was checked by the parser; nobody checks again. Sources: the Kubernetes API reference, v1.34.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "weft/base/ip.hpp"

namespace weft::k8s {

using Labels = std::map<std::string, std::string>;

/// Where an object was written; shown in every refusal.
struct Origin {
    std::string file; ///< path as given, or "api" for the API server
    int line = 0;     ///< 1-based line of the object's first key; 0 when unknown

    friend bool operator==(const Origin&, const Origin&) = default;
};

struct Meta {
    std::string namespace_name; ///< empty for cluster-scoped kinds; "default" when a namespaced object has none
    std::string name;
    std::string uid;
    Labels labels;
    Labels annotations;
    bool deleting = false; ///< deletionTimestamp is set
    Origin origin;

    /// Equal content; where it was written does not count, so a moved but unchanged object is not a change.
    friend bool operator==(const Meta& a, const Meta& b) {
        return a.namespace_name == b.namespace_name && a.name == b.name && a.uid == b.uid && a.labels == b.labels &&
               a.annotations == b.annotations && a.deleting == b.deleting;
    }
};

/// A port given by number or by a container port's name (intstr.IntOrString).
using PortRef = std::variant<std::uint16_t, std::string>;

struct LabelRequirement {
    enum class Operator { kIn, kNotIn, kExists, kDoesNotExist };
    std::string key;
    Operator op = Operator::kExists;
    std::vector<std::string> values;

    friend bool operator==(const LabelRequirement&, const LabelRequirement&) = default;
};

/// metav1.LabelSelector. Without any requirement it matches everything.
struct LabelSelector {
    Labels match_labels;
    std::vector<LabelRequirement> match_expressions;

    /// True when every requirement holds (NotIn and DoesNotExist hold when the key is missing).
    [[nodiscard]] bool matches(const Labels& labels) const;

    friend bool operator==(const LabelSelector&, const LabelSelector&) = default;
};

struct Namespace {
    Meta meta; ///< labels always contain kubernetes.io/metadata.name, as the API server adds it

    friend bool operator==(const Namespace&, const Namespace&) = default;
};

struct Node {
    Meta meta;
    std::vector<Ip> addresses;      ///< status.addresses of type InternalIP and ExternalIP
    std::vector<Cidr> pod_cidrs;    ///< spec.podCIDRs, else spec.podCIDR
    bool unschedulable = false;     ///< spec.unschedulable
    [[nodiscard]] std::string zone() const; ///< label topology.kubernetes.io/zone, empty when missing

    friend bool operator==(const Node&, const Node&) = default;
};

struct ServiceAccount {
    Meta meta;

    friend bool operator==(const ServiceAccount&, const ServiceAccount&) = default;
};

struct ContainerPort {
    std::string name; ///< empty when unnamed
    std::uint16_t port = 0;
    std::uint8_t protocol = 6; ///< IPPROTO_*

    friend bool operator==(const ContainerPort&, const ContainerPort&) = default;
};

/// Only what the lab needs to run and probe a container; nobody else reads it.
struct Probe {
    enum class Kind { kTcp, kHttp, kExec };
    Kind kind = Kind::kTcp;
    PortRef port = std::uint16_t{0};
    std::string path = "/"; ///< kHttp
    std::vector<std::string> command; ///< kExec
    int initial_delay_seconds = 0;
    int period_seconds = 10;
    int timeout_seconds = 1;
    int failure_threshold = 3;

    friend bool operator==(const Probe&, const Probe&) = default;
};

struct Container {
    std::string name;
    std::string image;
    std::vector<std::string> command;
    std::vector<std::string> args;
    std::vector<std::pair<std::string, std::string>>
        env; ///< name, value; fieldRef (podIP, name, namespace, nodeName) as "$(field:status.podIP)"
    std::vector<ContainerPort> ports;
    std::optional<Probe> readiness;

    friend bool operator==(const Container&, const Container&) = default;
};

struct PodSpec {
    std::string node_name;
    std::string service_account = "default";
    bool host_network = false;
    int termination_grace_seconds = 30;
    std::string hostname;  ///< with subdomain: as the API has it
    std::string subdomain;
    std::vector<Container> containers;

    friend bool operator==(const PodSpec&, const PodSpec&) = default;
};

struct Pod {
    Meta meta;
    PodSpec spec;
    std::string phase;      ///< status.phase; empty when the manifest has no status
    std::vector<Ip> ips;    ///< status.podIPs, else status.podIP
    bool ready = false;     ///< status.conditions Ready=True
    [[nodiscard]] bool finished() const { return phase == "Succeeded" || phase == "Failed"; }

    friend bool operator==(const Pod&, const Pod&) = default;
};

/// apps/v1 Deployment: used by the lab and by simulate, never by the agent.
struct Deployment {
    Meta meta;
    int replicas = 1;
    LabelSelector selector;
    Meta template_meta;
    PodSpec template_spec;

    friend bool operator==(const Deployment&, const Deployment&) = default;
};

struct ServicePort {
    std::string name;
    std::uint8_t protocol = 6;
    std::uint16_t port = 0;
    PortRef target_port = std::uint16_t{0}; ///< defaults to `port`
    std::uint16_t node_port = 0;            ///< 0: none

    friend bool operator==(const ServicePort&, const ServicePort&) = default;
};

struct Service {
    enum class Type { kClusterIp, kNodePort, kLoadBalancer, kExternalName };
    enum class Distribution { kAny, kPreferSameZone, kPreferSameNode }; ///< PreferClose is PreferSameZone (KEP-3015)
    Meta meta;
    Type type = Type::kClusterIp;
    bool headless = false;             ///< clusterIP: None
    std::vector<Ip> cluster_ips;       ///< empty when headless or not assigned yet
    std::vector<Ip> external_ips;
    std::vector<Ip> load_balancer_ips; ///< status.loadBalancer.ingress[].ip with ipMode VIP (or none given)
    std::vector<ServicePort> ports;
    Labels selector;                   ///< empty: EndpointSlices are written by somebody else
    bool client_ip_affinity = false;
    int affinity_timeout_seconds = 10800;
    bool internal_traffic_local = false;
    Distribution distribution = Distribution::kAny;
    bool publish_not_ready = false;
    bool wants_v4 = false; ///< spec.ipFamilies names IPv4; both false: not given, the cluster IPs decide
    bool wants_v6 = false; ///< spec.ipFamilies names IPv6

    friend bool operator==(const Service&, const Service&) = default;
};

struct SliceEndpoint {
    std::vector<Ip> addresses;
    bool ready = true;        ///< missing means true
    bool serving = true;      ///< missing means: same as ready
    bool terminating = false; ///< missing means false
    std::string node_name;
    std::string zone;
    std::vector<std::string> hint_zones; ///< hints.forZones
    std::vector<std::string> hint_nodes; ///< hints.forNodes
    std::string target_pod;   ///< targetRef.name when kind is Pod, same namespace; else empty

    friend bool operator==(const SliceEndpoint&, const SliceEndpoint&) = default;
};

struct SlicePort {
    std::string name;
    std::uint8_t protocol = 6;
    std::uint16_t port = 0; ///< 0: "all ports", ignored for Services

    friend bool operator==(const SlicePort&, const SlicePort&) = default;
};

struct EndpointSlice {
    Meta meta;
    std::string service; ///< label kubernetes.io/service-name; empty: belongs to none
    bool v4 = true;      ///< addressType; FQDN slices are refused
    std::vector<SliceEndpoint> endpoints;
    std::vector<SlicePort> ports;

    friend bool operator==(const EndpointSlice&, const EndpointSlice&) = default;
};

struct IpBlock {
    Cidr cidr;
    std::vector<Cidr> except;

    friend bool operator==(const IpBlock&, const IpBlock&) = default;
};

/// networking/v1 NetworkPolicyPeer: either an ipBlock, or selectors. No namespace selector: the policy's own namespace.
struct PolicyPeer {
    std::optional<LabelSelector> pod_selector;
    std::optional<LabelSelector> namespace_selector;
    std::optional<IpBlock> ip_block;

    friend bool operator==(const PolicyPeer&, const PolicyPeer&) = default;
};

struct PolicyPort {
    std::uint8_t protocol = 6;
    std::optional<PortRef> port; ///< missing: every port of the protocol
    std::optional<std::uint16_t> end_port; ///< with a numeric port only, >= port

    friend bool operator==(const PolicyPort&, const PolicyPort&) = default;
};

struct PolicyRule {
    std::vector<PolicyPeer> peers; ///< empty (or missing in the manifest): every peer
    std::vector<PolicyPort> ports; ///< empty (or missing): every port and protocol

    friend bool operator==(const PolicyRule&, const PolicyRule&) = default;
};

struct NetworkPolicy {
    Meta meta;
    LabelSelector pod_selector;
    bool affects_ingress = true; ///< policyTypes after defaulting: Ingress always unless given, Egress if it has rules
    bool affects_egress = false;
    std::vector<PolicyRule> ingress;
    std::vector<PolicyRule> egress;

    friend bool operator==(const NetworkPolicy&, const NetworkPolicy&) = default;
};

/// What a workload does with mutual TLS.
enum class TlsMode {
    kOff, ///< neither dials nor takes it
    kPermissive, ///< takes plaintext, too
    kStrict, ///< takes no plaintext from other nodes, but from its own
};

/// weft.dev/v1alpha1 MeshTLS: the mode of some workloads of its namespace that are enrolled in the mesh.
struct MeshTls {
    Meta meta;
    std::optional<LabelSelector> selector; ///< missing: every workload of the namespace that no other MeshTLS selects
    std::optional<TlsMode> mode; ///< missing: the mesh's
    std::map<std::uint16_t, TlsMode> ports; ///< exceptions, by the workload's own port

    friend bool operator==(const MeshTls&, const MeshTls&) = default;
};

/// weft.dev/v1alpha1 MeshConfig, cluster-scoped; only the one called "default" counts.
struct MeshConfig {
    Meta meta;
    std::optional<TlsMode> mode; ///< of enrolled workloads that no MeshTLS selects; permissive when missing

    friend bool operator==(const MeshConfig&, const MeshConfig&) = default;
};

using Object = std::variant<Namespace, Node, ServiceAccount, Pod, Deployment, Service, EndpointSlice, NetworkPolicy,
                            MeshTls, MeshConfig>;

/// Names an object: kind as in YAML ("Pod"), namespace, name.
struct ObjectKey {
    std::string kind;
    std::string namespace_name;
    std::string name;

    friend auto operator<=>(const ObjectKey&, const ObjectKey&) = default;
    /// "Pod shop/web-1", "Node a".
    [[nodiscard]] std::string to_string() const;
};

/// Key of a parsed object.
ObjectKey key_of(const Object& object);
/// Metadata of a parsed object.
const Meta& meta_of(const Object& object);

} // namespace weft::k8s
