// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Fixed parts are copied as they are, since labels never leave the machine; texts follow with their lengths.
#include "agent/mesh/label.hpp"

#include <algorithm>
#include <type_traits>

#include "weft/ktls/relay_protocol.h"

namespace weft::mesh {
namespace {

/// Raised whenever a layout below changes.
constexpr std::uint8_t kVersion = 1;

enum class Kind : std::uint8_t { kListener = 1, kWaiting, kCarried };

/// What is always there of a carried connection.
struct Fixed {
    std::uint64_t netns_cookie;
    std::uint64_t cookie;
    std::int64_t began_ns, wire_ns, handshake_ns, carried_ns;
    weft_addr_port app, remote, asked;
    Side side;
    Carrier carrier;
    std::uint8_t resumed;
    std::uint8_t pad;
};
static_assert(std::is_trivially_copyable_v<Fixed> && sizeof(Fixed) == 6 * 8 + 3 * sizeof(weft_addr_port) + 4);

class Out {
public:
    explicit Out(Kind kind) : text_{static_cast<char>(kVersion), static_cast<char>(kind)} {}
    template <typename T>
    void raw(const T& value) {
        static_assert(std::is_trivially_copyable_v<T>);
        text_.append(reinterpret_cast<const char*>(&value), sizeof value);
    }
    void words(std::string_view text) {
        raw(static_cast<std::uint16_t>(text.size()));
        text_.append(text);
    }
    std::string take() { return std::move(text_); }

private:
    std::string text_;
};

class In {
public:
    explicit In(std::string_view text) : rest_(text) {}
    template <typename T>
    T raw() {
        static_assert(std::is_trivially_copyable_v<T>);
        T value{};
        const auto from = bytes(sizeof value);
        if (good_) {
            std::ranges::copy(from, reinterpret_cast<char*>(&value));
        }
        return value;
    }
    std::string words() { return std::string(bytes(raw<std::uint16_t>())); }
    /// Everything was there, and nothing is left.
    [[nodiscard]] bool complete() const { return good_ && rest_.empty(); }

private:
    std::string_view bytes(std::size_t size) {
        good_ = good_ && size <= rest_.size();
        if (!good_) {
            return {};
        }
        const auto first = rest_.substr(0, size);
        rest_.remove_prefix(size);
        return first;
    }

    std::string_view rest_;
    bool good_ = true;
};

std::string write_carried(const ConnectionFacts& facts, bool for_people) {
    Fixed fixed{};
    fixed.netns_cookie = facts.workload->netns_cookie;
    fixed.cookie = facts.cookie;
    fixed.began_ns = facts.began_ns;
    fixed.wire_ns = facts.wire_ns;
    fixed.handshake_ns = facts.handshake_ns;
    fixed.carried_ns = facts.carried_ns;
    fixed.app = facts.app;
    fixed.remote = facts.remote;
    fixed.asked = facts.asked;
    fixed.side = facts.side;
    fixed.carrier = facts.carrier;
    fixed.resumed = facts.resumed ? 1 : 0;
    Out out(Kind::kCarried);
    out.raw(fixed);
    out.words(facts.workload->id.to_string());
    out.words(facts.peer ? facts.peer->to_string() : "");
    out.words(facts.own_serial);
    out.words(facts.peer_serial);
    out.words(for_people ? facts.cipher : "");
    out.words(for_people ? facts.group : "");
    out.words(for_people ? facts.workload->namespace_name : "");
    out.words(for_people ? facts.workload->pod_name : "");
    return out.take();
}

Label read_carried(In& in) {
    const auto fixed = in.raw<Fixed>();
    const auto own = SpiffeId::parse(in.words());
    const auto peer_text = in.words();
    const auto peer = SpiffeId::parse(peer_text);
    ConnectionFacts facts;
    facts.own_serial = in.words();
    facts.peer_serial = in.words();
    facts.cipher = in.words();
    facts.group = in.words();
    auto workload = std::make_shared<Workload>();
    workload->namespace_name = in.words();
    workload->pod_name = in.words();
    if (!in.complete() || !own || (!peer && !peer_text.empty()) || fixed.side > Side::kServer ||
        fixed.carrier > Carrier::kPlaintext) {
        return {};
    }
    workload->id = *own;
    workload->netns_cookie = fixed.netns_cookie;
    facts.workload = std::move(workload);
    if (peer) {
        facts.peer = *peer;
    }
    facts.side = fixed.side;
    facts.carrier = fixed.carrier;
    facts.resumed = fixed.resumed != 0;
    facts.cookie = fixed.cookie;
    facts.app = fixed.app;
    facts.remote = fixed.remote;
    facts.asked = fixed.asked;
    facts.began_ns = fixed.began_ns;
    facts.wire_ns = fixed.wire_ns;
    facts.handshake_ns = fixed.handshake_ns;
    facts.carried_ns = fixed.carried_ns;
    facts.in_relay = true;
    return facts;
}

} // namespace

std::string write_label(const ListenerLabel& label) {
    Out out(Kind::kListener);
    out.raw(label.netns_cookie);
    out.raw(label.role);
    return out.take();
}

std::string write_label(const WaitingLabel& label) {
    Out out(Kind::kWaiting);
    out.raw(label.netns_cookie);
    return out.take();
}

std::string write_label(const ConnectionFacts& facts) {
    for (const bool for_people : {true, false}) {
        if (auto text = write_carried(facts, for_people); text.size() <= WEFT_RELAY_LABEL) {
            return text;
        }
    }
    return {};
}

Label read_label(std::string_view text) {
    In in(text);
    if (in.raw<std::uint8_t>() != kVersion) {
        return {};
    }
    switch (in.raw<Kind>()) {
    case Kind::kListener: {
        ListenerLabel label;
        label.netns_cookie = in.raw<std::uint64_t>();
        label.role = in.raw<ListenerRole>();
        return in.complete() && label.role <= ListenerRole::kCarrier6 ? Label(label) : Label();
    }
    case Kind::kWaiting: {
        const WaitingLabel label{in.raw<std::uint64_t>()};
        return in.complete() ? Label(label) : Label();
    }
    case Kind::kCarried:
        return read_carried(in);
    }
    return {};
}

std::uint64_t listener_id(const ListenerLabel& label) {
    return std::uint64_t{1} << 63 | label.netns_cookie << 2 | static_cast<std::uint64_t>(label.role);
}

} // namespace weft::mesh
