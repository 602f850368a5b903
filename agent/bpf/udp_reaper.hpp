// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Which connected UDP sockets still talk to a backend that is gone, and how are they made to connect anew? UDP has no
// end of connection, so without this an application would send into the void for ever.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "agent/bpf/stale_backend.hpp"
#include "agent/bpf/udp_iterator.hpp"
#include "weft/abi/socket.h"
#include "weft/base/result.hpp"

namespace weft::bpf {

struct ReapStats {
    std::size_t destroyed = 0;
    std::size_t already_gone = 0;
    std::vector<Error> errors; ///< one per namespace or socket that could not be handled
};

/// The connections that are connected UDP sockets translated to a stale backend.
std::vector<weft_conn> stale_udp_sockets(std::span<const weft_conn> connections, std::span<const StaleBackend> stale);

/// Destroys UDP sockets in whatever network namespace they are. Thread: one at a time.
class UdpReaper {
public:
    /// By bpf_sock_destroy where this kernel has it, by netlink elsewhere.
    static UdpReaper open();
    /// By netlink, whatever the kernel has.
    static UdpReaper by_netlink();

    /// "bpf_sock_destroy" or "netlink".
    [[nodiscard]] const char* mechanism() const;
    /// Why it is not bpf_sock_destroy; empty when it is.
    [[nodiscard]] const std::string& reason() const { return reason_; }

    /// `netns_paths`: netns cookie -> path, as far as known; others are searched for. A call that was choosing its
    /// backend while the map changed may connect just after `sockets` was read: reap a second time a little later.
    ReapStats reap(std::span<const weft_conn> sockets, const std::map<std::uint64_t, std::string>& netns_paths);

private:
    explicit UdpReaper(std::optional<UdpIterator> iterator, std::string reason)
        : iterator_(std::move(iterator)), reason_(std::move(reason)) {}
    Result<> reap_here(std::span<const weft_conn* const> sockets, ReapStats& stats);

    std::optional<UdpIterator> iterator_;
    std::string reason_;
};

} // namespace weft::bpf
