// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "tools/weft/flow_reasons.hpp"

#include "agent/mesh/failures.hpp"
#include "weft/abi/reasons.h"
#include "weft/ktls/failure.hpp"
#include "weft/ktls/relay_protocol.h"

namespace weft::cli {

const std::set<std::string>& flow_reasons() {
    static const std::set<std::string> words = [] {
#define WEFT_WORD_OF_REASON(name, word, help) word,
#define WEFT_WORD_OF_RELAY(name, word) word,
        std::set<std::string> all = {WEFT_REASONS(WEFT_WORD_OF_REASON) WEFT_KTLS_FAILURES(
            WEFT_WORD_OF_REASON) WEFT_MESH_FAILURES(WEFT_WORD_OF_REASON) WEFT_RELAY_REASONS(WEFT_WORD_OF_RELAY)};
#undef WEFT_WORD_OF_REASON
#undef WEFT_WORD_OF_RELAY
        for (const auto* no_denial : {"none", "finished", "conns-full", "affinity-full", "kernel-socket", "event-lost",
                                      "affinity-stale", "set-retried", "traffic-other", "traffic-lost", "accel-full",
                                      "accel-left", "udp-flow-full", "rule-drops-full"}) {
            all.erase(no_denial);
        }
        return all;
    }();
    return words;
}

} // namespace weft::cli
