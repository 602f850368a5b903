// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// One worker's connection to weft-relay: made when needed and again when lost. One worker of the mesh watches: it hears
// of everything that the relay carries, and keeps the pods' listeners there. Thread: the worker's.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "agent/mesh/poller.hpp"
#include "weft/ktls/relay_client.hpp"

namespace weft::mesh {

class RelayLink {
public:
    struct Handlers {
        std::function<void(ktls::RelayMessage&)> message;
        std::function<void()> lost; ///< with everything that it was not answered
    };
    /// `path` empty: there is no relay, and every call does nothing.
    RelayLink(Poller& poller, std::string path, bool watch, Handlers handlers);
    ~RelayLink();
    RelayLink(const RelayLink&) = delete;
    RelayLink& operator=(const RelayLink&) = delete;

    /// The connection; null when there is no relay.
    ktls::RelayClient* client();
    /// Has the relay hold a socket until drop(), or until a connection of this id is handed over. False: it does not,
    /// so the socket ends with this process.
    bool keep(std::uint64_t id, int fd, const std::string& label);
    /// The same, and again with each relay that comes later. `fd` must live until drop().
    void keep_always(std::uint64_t id, int fd, std::string label);
    /// Makes the relay close what it keeps, or reset what it carries; as soon as it can be told.
    void drop(std::uint64_t id);
    /// The relay did not know it yet: another worker's hand-over may be under way. The same, a little later.
    void drop_later(std::uint64_t id);

private:
    struct Listener {
        int fd;
        std::string label;
    };
    void on_event(std::uint32_t events);
    void lose();
    void flush_drops();

    Poller& poller_;
    std::string path_;
    bool watch_;
    Handlers handlers_;
    Poller::Token token_ = 0;
    std::optional<ktls::RelayClient> client_;
    std::map<std::uint64_t, Listener> always_;
    std::vector<std::uint64_t> drops_; ///< not told yet
    std::vector<std::uint64_t> later_; ///< to be told again
};

} // namespace weft::mesh
