// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/verdict/verdict.hpp"

#include <arpa/inet.h>

namespace weft::verdict {
namespace {

// The shared decision is C: its look-ups take no object. Each decide() says here whose they are, for its own thread.
thread_local const PolicyIndex* current = nullptr;

#define WEFT_VERDICT_FN static inline
#include "bpf/lib/verdict.h"

const weft_peer* weft_peer_of(const weft_addr* addr) {
    return current->peer_of(*addr);
}

const weft_policy_entry* weft_policy_at(const weft_policy_key* key) {
    return current->policy_at(*key);
}

const __u64* weft_rule_at(const weft_ports_key* key) {
    // C's __u64 and C++'s uint64_t are different types of one size: hand out a copy instead of a cast.
    static thread_local __u64 copy;
    const auto* rule = current->rule_at(*key);
    copy = rule == nullptr ? 0 : *rule;
    return rule == nullptr ? nullptr : &copy;
}

weft_addr masked(weft_addr addr, std::uint32_t bits) {
    for (std::uint32_t word = 0; word < 4; ++word) {
        const std::uint32_t first = word * 32;
        const std::uint32_t kept = bits <= first ? 0 : std::min(bits - first, 32U);
        addr.word[word] &= kept == 0 ? 0 : htonl(~std::uint32_t{0} << (32 - kept));
    }
    return addr;
}

} // namespace

PolicyIndex::PolicyIndex(std::shared_ptr<const compiler::PolicyImage> image) : image_(std::move(image)) {
    for (const auto& [key, peer] : image_->cidrs) {
        prefixes_[key.prefix_bits].emplace(key.addr, peer);
    }
}

const weft_peer* PolicyIndex::peer_of(const weft_addr& addr) const {
    if (const auto exact = image_->ipcache.find(addr); exact != image_->ipcache.end()) {
        return &exact->second;
    }
    for (const auto& [bits, peers] : prefixes_) {
        if (const auto found = peers.find(masked(addr, bits)); found != peers.end()) {
            return &found->second;
        }
    }
    return nullptr;
}

const weft_policy_entry* PolicyIndex::policy_at(const weft_policy_key& key) const {
    const auto found = image_->policies.find(key);
    return found == image_->policies.end() ? nullptr : &found->second;
}

const std::uint64_t* PolicyIndex::rule_at(const weft_ports_key& key) const {
    // Longest prefix first, as the kernel's trie answers; the last one is "every port of the protocol".
    weft_ports_key shorter = key;
    for (std::uint32_t bits = 16;; --bits) {
        shorter.prefix_bits = WEFT_PORTS_PREFIX + bits;
        shorter.port_be =
            bits == 0 ? 0 : htons(static_cast<std::uint16_t>(ntohs(key.port_be) & (0xffffU << (16 - bits))));
        if (const auto found = image_->ports.find(shorter); found != image_->ports.end()) {
            return &found->second;
        }
        if (bits == 0) {
            return nullptr;
        }
    }
}

Decision PolicyIndex::decide(std::uint64_t netns_cookie, std::uint8_t direction, const Ip& peer, std::uint8_t protocol,
                             std::uint16_t port) const {
    const auto workload = image_->endpoints.find(netns_cookie);
    if (workload == image_->endpoints.end()) {
        return {};
    }
    const Ip own4(workload->second.addr4);
    const Ip own6(workload->second.addr6);
    if (peer.is_loopback() || peer.is_unspecified() || peer == own4 || peer == own6) {
        return {true, 0};
    }
    const weft_question question{peer.raw(), htons(port), protocol, direction};
    Decision decision;
    __u64 rule = 0;
    current = this;
    decision.allow = weft_decide(&workload->second, &question, &rule) == WEFT_VERDICT_ALLOW;
    current = nullptr;
    decision.rule = decision.allow ? rule : 0;
    return decision;
}

} // namespace weft::verdict
