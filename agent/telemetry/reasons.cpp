// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Names of the kernel's outcomes.
#include "agent/telemetry/reasons.hpp"

#include <array>

namespace weft::telemetry {
namespace {

struct Text {
    std::string_view label, help;
};
#define WEFT_REASON_TEXT(name, label, help) Text{label, help},
constexpr std::array<Text, WEFT_REASON_COUNT> kReasons{{WEFT_REASONS(WEFT_REASON_TEXT)}};
#undef WEFT_REASON_TEXT

} // namespace

std::string_view reason_label(std::uint8_t reason) {
    return reason < kReasons.size() ? kReasons[reason].label : "unknown";
}

std::string_view reason_help(std::uint8_t reason) {
    return reason < kReasons.size() ? kReasons[reason].help : "an outcome that this version does not know";
}

bool reason_refuses(std::uint8_t reason) {
    switch (reason) {
    case WEFT_REASON_NONE:
    case WEFT_REASON_CONNS_FULL:
    case WEFT_REASON_AFFINITY_FULL:
    case WEFT_REASON_KERNEL_SOCKET:
    case WEFT_REASON_EVENT_LOST:
    case WEFT_REASON_AFFINITY_STALE:
    case WEFT_REASON_SET_RETRIED:
    case WEFT_REASON_TRAFFIC_OTHER:
    case WEFT_REASON_TRAFFIC_LOST:
    case WEFT_REASON_ACCEL_FULL:
    case WEFT_REASON_ACCEL_LEFT:
    case WEFT_REASON_UDP_FLOW_FULL:
    case WEFT_REASON_RULE_DROPS_FULL:
        return false;
    default:
        return true;
    }
}

std::string_view direction_label(std::uint8_t direction) {
    return direction == WEFT_INGRESS ? "ingress" : "egress";
}

} // namespace weft::telemetry
