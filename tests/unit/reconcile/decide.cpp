// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The BPF programs' own policy decision, run over the maps in memory.
#include <netinet/in.h>

#include <optional>

#include "states.hpp"

#define WEFT_VERDICT_FN static
#include "bpf/lib/verdict.h"

namespace {

const weft::test::FakeKernel* current = nullptr;
std::optional<weft_peer> peer;
std::optional<weft_policy_entry> entry;
std::optional<__u64> rule;

} // namespace

static const weft_peer* weft_peer_of(const weft_addr* addr) {
    peer = current->get<weft_addr, weft_peer>(current->maps.ipcache, *addr);
    return peer ? &*peer : nullptr;
}
static const weft_policy_entry* weft_policy_at(const weft_policy_key* key) {
    entry = current->get<weft_policy_key, weft_policy_entry>(current->maps.policy, *key);
    return entry ? &*entry : nullptr;
}
static const __u64* weft_rule_at(const weft_ports_key* key) {
    const auto found = current->get<weft_ports_key, std::uint64_t>(current->maps.ports, *key);
    rule = found ? std::optional<__u64>(*found) : std::nullopt;
    return rule ? &*rule : nullptr;
}

namespace weft::test {

int decide(const FakeKernel& kernel, std::uint64_t cookie, const std::string& from) {
    const auto endpoint = kernel.get<std::uint64_t, weft_endpoint>(kernel.maps.endpoint, cookie);
    if (!endpoint) {
        return -1;
    }
    current = &kernel;
    weft_question question{};
    question.peer = addr(from);
    question.port_be = htons(80);
    question.proto = IPPROTO_TCP;
    question.direction = WEFT_INGRESS;
    __u64 by = 0;
    return weft_decide(&*endpoint, &question, &by);
}

} // namespace weft::test
