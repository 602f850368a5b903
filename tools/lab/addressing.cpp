// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Address arithmetic; every pool is private to the lab, because the lab's network is.
#include "tools/lab/addressing.hpp"

#include <arpa/inet.h>

#include "weft/base/content_hash.hpp"

namespace weft::lab {
namespace {

/// For text that this file wrote itself.
Ip ip_of(const std::string& text) {
    return Ip::parse(text).value_or(Ip());
}

/// Families that a Service gets cluster IPs of, IPv4 first; IPv4 alone when it does not say.
std::vector<int> families_of(const k8s::Service& service) {
    std::vector<int> families;
    if (service.wants_v4 || !service.wants_v6) {
        families.push_back(4);
    }
    if (service.wants_v6) {
        families.push_back(6);
    }
    return families;
}

Ip cluster_ip(bool v4, std::uint64_t number) {
    const auto host = static_cast<unsigned>(number % 65000 + 10); // .0 is the block's own, the first few are left free
    return v4 ? ip_of(fmt::format("10.96.{}.{}", host / 256, host % 256)) : ip_of(fmt::format("fd00:96::{:x}", host));
}

} // namespace

std::vector<Ip> node_addresses(int number) {
    return {ip_of(fmt::format("172.31.0.{}", number)), ip_of(fmt::format("fd00:31::{:x}", number))};
}

std::vector<Cidr> default_pod_cidrs(int number) {
    return {Cidr::parse(fmt::format("10.244.{}.0/24", number)).value_or(Cidr()),
            Cidr::parse(fmt::format("fd00:244:{:x}::/64", number)).value_or(Cidr())};
}

Ip external_address(const std::set<Ip>& taken) {
    for (int host = 10; host < 255; ++host) {
        const auto ip = ip_of(fmt::format("203.0.113.{}", host));
        if (!taken.contains(ip)) {
            return ip;
        }
    }
    for (int host = 1;; ++host) { // the next documentation block; a lab never has 16 million hosts
        const auto ip = ip_of(fmt::format("198.18.{}.{}", host / 256 % 256, host % 256));
        if (!taken.contains(ip)) {
            return ip;
        }
    }
}

void ServiceAddresses::reserve(const k8s::Service& service) {
    ips_.insert(service.cluster_ips.begin(), service.cluster_ips.end());
    ips_.insert(service.load_balancer_ips.begin(), service.load_balancer_ips.end());
    for (const auto& port : service.ports) {
        if (port.node_port != 0) {
            node_ports_.insert(port.node_port);
        }
    }
}

void ServiceAddresses::release(const k8s::Service& service) {
    for (const auto& ip : service.cluster_ips) {
        ips_.erase(ip);
    }
    for (const auto& ip : service.load_balancer_ips) {
        ips_.erase(ip);
    }
    for (const auto& port : service.ports) {
        node_ports_.erase(port.node_port);
    }
}

void ServiceAddresses::assign(k8s::Service& service) {
    using Type = k8s::Service::Type;
    const auto seed = ContentHash("service").add(service.meta.namespace_name).add(service.meta.name).id();
    if (service.type != Type::kExternalName && !service.headless && service.cluster_ips.empty()) {
        for (const int family : families_of(service)) {
            auto number = seed;
            while (!ips_.insert(cluster_ip(family == 4, number)).second) {
                ++number;
            }
            service.cluster_ips.push_back(cluster_ip(family == 4, number));
        }
    }
    if (service.type == Type::kNodePort || service.type == Type::kLoadBalancer) {
        auto number = seed;
        for (auto& port : service.ports) {
            while (port.node_port == 0) {
                const auto candidate = static_cast<std::uint16_t>(30000 + number++ % 2768);
                port.node_port = node_ports_.insert(candidate).second ? candidate : std::uint16_t{0};
            }
        }
    }
    if (service.type == Type::kLoadBalancer && service.load_balancer_ips.empty()) {
        for (auto number = seed; service.load_balancer_ips.empty(); ++number) {
            const auto ip = ip_of(fmt::format("192.0.2.{}", number % 250 + 1));
            if (ips_.insert(ip).second || number - seed > 250) { // a full block is shared, by port
                service.load_balancer_ips.push_back(ip);
            }
        }
    }
}

} // namespace weft::lab
