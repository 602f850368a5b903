// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Completing manifests as a control plane would, without a cluster: everything here is deterministic.
#include <arpa/inet.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "agent/k8s/derive.hpp"
#include "agent/k8s/parse.hpp"
#include "tools/weft/simulate_cluster.hpp"
#include "tools/weft/simulate_node.hpp"

namespace weft::simulate {
namespace {

constexpr const char* kExternal = "weft.dev/lab-external";

bool is_external(const k8s::Pod& pod) {
    const auto found = pod.meta.annotations.find(kExternal);
    return found != pod.meta.annotations.end() && found->second == "true";
}

/// The n-th address of an IPv4 block that begins at `first`.
Ip nth_v4(std::uint32_t first, std::uint32_t n) {
    return Ip::v4(htonl(first + n));
}

store::Name name_of(const k8s::Meta& meta) {
    return {meta.namespace_name, meta.name};
}

} // namespace

Result<Manifests> read_manifests(const std::string& folder) {
    std::error_code error;
    std::vector<std::filesystem::path> files;
    std::filesystem::recursive_directory_iterator entries(folder, error);
    if (error) {
        return failure(error.value(), "{}: {}; give the folder of manifests with --manifests", folder, error.message());
    }
    for (const auto& entry : entries) {
        const auto extension = entry.path().extension();
        if (entry.is_regular_file(error) && (extension == ".yaml" || extension == ".yml" || extension == ".json")) {
            files.push_back(entry.path());
        }
    }
    std::ranges::sort(files);
    Manifests manifests;
    for (const auto& path : files) {
        std::ifstream stream(path, std::ios::binary);
        std::ostringstream text;
        text << stream.rdbuf();
        if (!stream) {
            return failure(EIO, "{}: cannot be read", path.string());
        }
        auto outcome = k8s::parse_documents(text.str(), path.string());
        std::ranges::move(outcome.objects, std::back_inserter(manifests.objects));
        std::ranges::move(outcome.refusals, std::back_inserter(manifests.refusals));
    }
    return manifests;
}

Cluster::Cluster(const std::vector<k8s::Object>& objects, int default_nodes) {
    const auto keep = [](auto& table, const auto& object) {
        using T = std::decay_t<decltype(object)>;
        table.insert_or_assign(name_of(object.meta), std::make_shared<const T>(object));
    };
    for (const auto& object : objects) {
        if (const auto* ns = std::get_if<k8s::Namespace>(&object)) {
            keep(namespaces_, *ns);
        } else if (const auto* node = std::get_if<k8s::Node>(&object)) {
            keep(node_objects_, *node);
        } else if (const auto* service = std::get_if<k8s::Service>(&object)) {
            keep(services_, *service);
        } else if (const auto* slice = std::get_if<k8s::EndpointSlice>(&object)) {
            keep(slices_, *slice);
        } else if (const auto* policy = std::get_if<k8s::NetworkPolicy>(&object)) {
            keep(policies_, *policy);
        } else if (const auto* pod = std::get_if<k8s::Pod>(&object)) {
            pods_.push_back(*pod);
        } else if (const auto* deployment = std::get_if<k8s::Deployment>(&object)) {
            std::ranges::move(k8s::expand_deployment(*deployment), std::back_inserter(pods_));
        }
    }
    complete_nodes(default_nodes);
    complete_pods();
    complete_services();
    compile();
}

Cluster::~Cluster() = default;

void Cluster::complete_nodes(int default_nodes) {
    if (node_objects_.empty()) {
        for (int i = 1; i <= default_nodes; ++i) {
            k8s::Node node;
            node.meta.name = "node-" + std::to_string(i);
            node.addresses = {nth_v4(0xac1f0000, static_cast<std::uint32_t>(i)), // 172.31.0.i, as in the lab
                              *Ip::parse(fmt::format("fd00:31::{:x}", i))};
            node_objects_.try_emplace(name_of(node.meta), std::make_shared<const k8s::Node>(node));
        }
    }
    for (const auto& [name, node] : node_objects_) {
        nodes_.emplace(node->meta.name, std::make_unique<Node>());
    }
}

void Cluster::complete_pods() {
    std::vector<k8s::Node> nodes;
    for (const auto& [name, node] : node_objects_) {
        nodes.push_back(*node);
    }
    std::vector<k8s::Pod> inside;
    for (auto& pod : pods_) {
        if (is_external(pod)) {
            const auto next = static_cast<std::uint32_t>(externals_.size() + 10);
            externals_.emplace(name_of(pod.meta),
                               pod.ips.empty() ? nth_v4(0xcb007100, next) : pod.ips.front()); // 203.0.113.0/24
        } else {
            inside.push_back(std::move(pod));
        }
    }
    k8s::schedule(inside, nodes);
    std::set<Ip> taken;
    for (const auto& pod : inside) {
        taken.insert(pod.ips.begin(), pod.ips.end());
    }
    std::map<std::string, std::uint32_t> next;
    for (auto& pod : inside) {
        const auto place = std::ranges::find(nodes, pod.spec.node_name, [](const k8s::Node& n) { return n.meta.name; });
        const auto index = static_cast<std::uint32_t>(place - nodes.begin()) + 1;
        if (pod.spec.host_network) {
            pod.ips = place == nodes.end() ? std::vector<Ip>{} : place->addresses;
        } else if (pod.ips.empty()) {
            Ip v4;
            std::uint32_t number = 0;
            do {
                number = 2 + next[pod.spec.node_name]++;
                v4 = nth_v4(0x0af40000 + (index << 8), number); // 10.244.node.0/24
            } while (taken.contains(v4));
            pod.ips = {v4, *Ip::parse(fmt::format("fd00:244:{:x}::{:x}", index, number))};
        }
        if (pod.phase.empty() || pod.phase == "Pending") {
            pod.phase = "Running";
            pod.ready = true;
        }
        if (!pod.spec.host_network) {
            for (const auto& ip : pod.ips) {
                pod_by_ip_.emplace(ip, name_of(pod.meta));
            }
        }
        if (!namespaces_.contains({"", pod.meta.namespace_name})) {
            k8s::Namespace implied;
            implied.meta.name = pod.meta.namespace_name;
            implied.meta.labels["kubernetes.io/metadata.name"] = pod.meta.namespace_name;
            namespaces_.try_emplace(name_of(implied.meta), std::make_shared<const k8s::Namespace>(implied));
        }
        pod_table_.insert_or_assign(name_of(pod.meta), std::make_shared<const k8s::Pod>(pod));
    }
    pods_ = std::move(inside);
}

void Cluster::complete_services() {
    std::vector<k8s::Node> nodes;
    for (const auto& [name, node] : node_objects_) {
        nodes.push_back(*node);
    }
    std::set<store::Name> given;
    for (const auto& [name, slice] : slices_) {
        given.insert({name.first, slice->service});
    }
    std::uint32_t next = 1;
    const store::Table<k8s::Service> given_services = services_;
    for (const auto& [name, object] : given_services) {
        k8s::Service service = *object;
        if (!service.headless && service.cluster_ips.empty() && service.type != k8s::Service::Type::kExternalName) {
            const auto number = next++;
            if (service.wants_v4 || !service.wants_v6) {
                service.cluster_ips.push_back(nth_v4(0x0a600000, number)); // 10.96.0.0/16
            }
            if (service.wants_v6) {
                service.cluster_ips.push_back(*Ip::parse(fmt::format("fd00:96::{:x}", number)));
            }
            services_.insert_or_assign(name, std::make_shared<const k8s::Service>(service));
        }
        for (const auto* ips : {&service.cluster_ips, &service.external_ips, &service.load_balancer_ips}) {
            service_addresses_.insert(ips->begin(), ips->end());
        }
        if (!given.contains(name)) {
            for (auto& slice : k8s::derive_slices(service, pods_, nodes)) {
                const auto key = name_of(slice.meta);
                slices_.insert_or_assign(key, std::make_shared<const k8s::EndpointSlice>(std::move(slice)));
            }
        }
    }
}

void Cluster::compile() {
    store::Snapshot shared;
    shared.version = 1;
    shared.namespaces = std::make_shared<store::Table<k8s::Namespace>>(namespaces_);
    shared.nodes = std::make_shared<store::Table<k8s::Node>>(node_objects_);
    shared.pods = std::make_shared<store::Table<k8s::Pod>>(pod_table_);
    shared.services = std::make_shared<store::Table<k8s::Service>>(services_);
    shared.slices = std::make_shared<store::Table<k8s::EndpointSlice>>(slices_);
    shared.policies = std::make_shared<store::Table<k8s::NetworkPolicy>>(policies_);
    std::uint64_t cookie = 1000;
    for (auto& [name, node] : nodes_) {
        auto endpoints = std::make_shared<std::map<std::string, store::LocalEndpoint>>();
        for (const auto& pod : pods_) {
            if (pod.spec.node_name != name || pod.spec.host_network || pod.finished()) {
                continue;
            }
            store::LocalEndpoint endpoint;
            endpoint.namespace_name = pod.meta.namespace_name;
            endpoint.pod_name = pod.meta.name;
            endpoint.container_id = pod.meta.namespace_name + "-" + pod.meta.name;
            endpoint.netns_cookie = ++cookie;
            endpoint.ips = pod.ips;
            cookies_[name_of(pod.meta)] = cookie;
            endpoints->emplace(endpoint.container_id, std::move(endpoint));
        }
        store::Snapshot own = shared;
        own.endpoints = std::move(endpoints);
        compiler::NodeContext context;
        context.node_name = name;
        context.host_addresses = node_objects_.at({"", name})->addresses;
        node->desired = compiler::Compiler().compile(own, context);
        node->index = std::make_unique<verdict::PolicyIndex>(node->desired.policy);
        for (const auto& [id, fragment] : node->desired.services) {
            for (const auto& [frontend, value] : fragment->frontends) {
                node->frontends.emplace(frontend, fragment.get());
            }
        }
    }
}

} // namespace weft::simulate
