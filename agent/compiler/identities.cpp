// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/compiler/identities.hpp"

#include <algorithm>
#include <mutex>

#include "agent/compiler/mesh.hpp"
#include "weft/base/content_hash.hpp"

namespace weft::compiler {
namespace {

/// Every prefix that some ipBlock mentions, shortest first.
std::vector<Cidr> policy_blocks(const store::Snapshot& snapshot) {
    std::set<Cidr> blocks;
    for (const auto& [name, policy] : *snapshot.policies) {
        for (const auto* rules : {&policy->ingress, &policy->egress}) {
            for (const auto& rule : *rules) {
                for (const auto& peer : rule.peers) {
                    if (peer.ip_block) {
                        blocks.insert(peer.ip_block->cidr);
                        blocks.insert(peer.ip_block->except.begin(), peer.ip_block->except.end());
                    }
                }
            }
        }
    }
    std::vector<Cidr> sorted(blocks.begin(), blocks.end());
    std::ranges::stable_sort(sorted, {}, &Cidr::bits);
    return sorted;
}

class IdentityTable {
public:
    IdentityTable(Identities& out, std::vector<store::Refusal>& refusals) : out_(out), refusals_(refusals) {}

    /// Gives the facts a number; 0 when the number is taken by other facts.
    std::uint64_t number(IdentityFacts facts, const k8s::ObjectKey& owner) {
        ContentHash hash("identity");
        hash.add(std::uint64_t{facts.pod}).add(facts.namespace_name);
        for (const auto* labels : {facts.labels, facts.namespace_labels}) {
            hash.add(std::uint64_t{labels == nullptr ? 0 : labels->size()});
            if (labels != nullptr) {
                for (const auto& [key, value] : *labels) {
                    hash.add(key).add(value);
                }
            }
        }
        hash.add(std::uint64_t{facts.blocks.size()});
        for (const auto& block : facts.blocks) {
            hash.add(block.to_string());
        }
        for (const auto& port : facts.named_ports) {
            hash.add(port.name).add(std::uint64_t{port.protocol}).add(std::uint64_t{port.port});
        }
        facts.id = hash.id();
        auto [known, fresh] = out_.by_id.try_emplace(facts.id, facts);
        if (!fresh && !same(known->second, facts)) {
            refusals_.push_back({owner,
                                 {},
                                 "metadata.labels",
                                 "its identity number collides with another one's; change any label of it",
                                 false});
            return 0;
        }
        ++known->second.addresses;
        return facts.id;
    }

private:
    static bool same(const IdentityFacts& a, const IdentityFacts& b) {
        const auto equal = [](const k8s::Labels* x, const k8s::Labels* y) {
            return x == y || (x != nullptr && y != nullptr && *x == *y);
        };
        return a.pod == b.pod && a.namespace_name == b.namespace_name && equal(a.labels, b.labels) &&
               equal(a.namespace_labels, b.namespace_labels) && a.blocks == b.blocks && a.named_ports == b.named_ports;
    }

    Identities& out_;
    std::vector<store::Refusal>& refusals_;
};

template <typename Address>
std::vector<Cidr> around(const std::vector<Cidr>& blocks, const Address& address) {
    std::vector<Cidr> containing;
    std::ranges::copy_if(blocks, std::back_inserter(containing),
                         [&](const Cidr& block) { return block.contains(address); });
    return containing;
}

/// WEFT_PEER_* of a prefix: what lies inside a block of another trust domain is that trust domain's.
std::uint32_t foreign_flags(const NodeContext& node, const Cidr& prefix) {
    const auto inside = [&](const std::vector<Cidr>& blocks) {
        return std::ranges::any_of(blocks, [&](const Cidr& block) { return block.contains(prefix); });
    };
    return node.mesh
               ? (inside(node.foreign) ? WEFT_PEER_DIALS : 0U) | (inside(node.foreign_dialled) ? WEFT_PEER_MESH : 0U)
               : 0U;
}

std::vector<NamedPort> named_ports(const k8s::Pod& pod, const std::set<std::string>& names) {
    std::set<NamedPort> ports;
    for (const auto& container : pod.spec.containers) {
        for (const auto& port : container.ports) {
            if (!port.name.empty() && names.contains(port.name)) {
                ports.insert({port.name, port.protocol, port.port});
            }
        }
    }
    return {ports.begin(), ports.end()};
}

} // namespace

std::vector<Ip> addresses_of(const k8s::Pod& pod, const std::map<store::Name, std::vector<Ip>>& enrolled) {
    std::set<Ip> ips(pod.ips.begin(), pod.ips.end());
    if (const auto found = enrolled.find({pod.meta.namespace_name, pod.meta.name}); found != enrolled.end()) {
        ips.insert(found->second.begin(), found->second.end());
    }
    return {ips.begin(), ips.end()};
}

std::map<store::Name, std::vector<Ip>> enrolled_addresses(const store::Snapshot& snapshot) {
    std::map<store::Name, std::vector<Ip>> enrolled;
    for (const auto& [container, endpoint] : *snapshot.endpoints) {
        auto& ips = enrolled[{endpoint.namespace_name, endpoint.pod_name}];
        ips.insert(ips.end(), endpoint.ips.begin(), endpoint.ips.end());
    }
    return enrolled;
}

std::set<std::string> egress_port_names(const store::Snapshot& snapshot) {
    std::set<std::string> names;
    for (const auto& [name, policy] : *snapshot.policies) {
        for (const auto& rule : policy->egress) {
            for (const auto& port : rule.ports) {
                if (port.port && std::holds_alternative<std::string>(*port.port)) {
                    names.insert(std::get<std::string>(*port.port));
                }
            }
        }
    }
    return names;
}

const k8s::Labels& namespace_labels(const store::Snapshot& snapshot, const std::string& name) {
    if (const auto found = snapshot.namespaces->find({"", name}); found != snapshot.namespaces->end()) {
        return found->second->meta.labels;
    }
    // Kept for the life of the program: names of namespaces are few, and identities borrow the labels.
    static std::mutex mutex; // tests compile on several threads
    static std::map<std::string, k8s::Labels> implied;
    const std::lock_guard lock(mutex);
    return implied.try_emplace(name, k8s::Labels{{"kubernetes.io/metadata.name", name}}).first->second;
}

Identities compile_identities(const store::Snapshot& snapshot, const NodeContext& node,
                              std::vector<store::Refusal>& refusals) {
    Identities out;
    IdentityTable table(out, refusals);
    const auto blocks = policy_blocks(snapshot);
    const auto names = egress_port_names(snapshot);
    const auto enrolled = enrolled_addresses(snapshot);

    for (const auto& [name, pod] : *snapshot.pods) {
        if (pod->finished() || pod->spec.host_network) {
            continue; // host network pods are their node, for policy as for everybody else
        }
        const bool remote = pod->spec.node_name != node.node_name;
        const auto standing =
            remote && node.mesh ? mesh_standing(snapshot, *pod, node.in_transit, nullptr) : MeshStanding{};
        for (const auto& ip : addresses_of(*pod, enrolled)) {
            if (pod->meta.deleting && out.ipcache.contains(ip.raw())) {
                continue; // the address was given to a newer pod already
            }
            IdentityFacts facts;
            facts.pod = true;
            facts.namespace_name = pod->meta.namespace_name;
            facts.labels = &pod->meta.labels;
            facts.namespace_labels = &namespace_labels(snapshot, pod->meta.namespace_name);
            facts.blocks = around(blocks, ip);
            facts.named_ports = named_ports(*pod, names);
            if (const auto id = table.number(std::move(facts), k8s::key_of(*pod)); id != 0) {
                out.ipcache[ip.raw()] = {id, peer_flags(standing), 0};
                add_tls_ports(standing, ip, out.tls_ports);
            }
        }
    }

    const auto address = [&](const Ip& ip, std::uint64_t plain, std::uint32_t flags) {
        IdentityFacts facts;
        facts.blocks = around(blocks, ip);
        const auto id = facts.blocks.empty() ? plain : table.number(std::move(facts), {"Node", "", ip.to_string()});
        out.ipcache[ip.raw()] = {id == 0 ? plain : id, flags, 0};
    };
    for (const auto& [name, other] : *snapshot.nodes) {
        const bool own = other->meta.name == node.node_name;
        for (const auto& ip : other->addresses) {
            address(ip, own ? WEFT_IDENTITY_HOST : WEFT_IDENTITY_REMOTE_NODE, own ? WEFT_PEER_LOCAL_NODE : 0);
        }
    }
    for (const auto& ip : node.host_addresses) {
        address(ip, WEFT_IDENTITY_HOST, WEFT_PEER_LOCAL_NODE);
    }

    // Foreign blocks are no policy's: they only carry flags, for themselves and for what lies inside.
    std::set<Cidr> prefixes(blocks.begin(), blocks.end());
    prefixes.insert(node.foreign.begin(), node.foreign.end());
    prefixes.insert(node.foreign_dialled.begin(), node.foreign_dialled.end());
    bool covers_v4 = false;
    for (const auto& block : prefixes) {
        const auto id = [&]() -> std::uint64_t {
            IdentityFacts facts;
            facts.blocks = around(blocks, block);
            return facts.blocks.empty() ? std::uint64_t{WEFT_IDENTITY_WORLD}
                                        : table.number(facts, {"NetworkPolicy", "", block.to_string()});
        }();
        if (id != 0) {
            out.cidrs[{static_cast<__u32>(block.bits()), block.base().raw()}] = {id, foreign_flags(node, block), 0};
        }
        covers_v4 |= block.bits() < 96;
    }
    if (covers_v4) {
        // IPv4 lies inside ::/0 for the trie, but not for Kubernetes: give it a prefix of its own.
        const Ip v4 = Ip::v4(0);
        out.cidrs.try_emplace({96, v4.raw()}, weft_peer{WEFT_IDENTITY_WORLD, 0, 0});
    }
    return out;
}

} // namespace weft::compiler
