// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// A lab of two nodes in which every path of this benchmark stands ready, and what is asked of each.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "tests/e2e/driver.hpp"
#include "weft/base/result.hpp"

namespace weft::bench {

/// One way from the client's pod to the server's.
struct Path {
    std::string name;    ///< "haproxy": the key in the JSON
    std::string pods;    ///< namespace of its two pods
    std::string address; ///< what the client dials
    int port = 0;
    bool native = false;       ///< the peers do TLS themselves
    std::string idle_of;       ///< the program whose memory grows with its connections; empty: not measured
};

class Paths {
public:
    /// Brings the lab up with all servers and sidecars.
    static Result<Paths> start();

    [[nodiscard]] const std::vector<Path>& all() const { return paths_; }
    /// Every figure of one path.
    [[nodiscard]] Result<nlohmann::json> measure(const Path& path) const;
    /// Resident KiB that `count` idle connections add to the programs on the path, both ends together.
    [[nodiscard]] Result<double> idle_cost(const Path& path, int count) const;
    /// Ends every weft-relay of the lab, so that what follows is relayed in user space.
    [[nodiscard]] Result<> end_relays() const;
    /// The tier that Weft's agents say of a connection that stands now.
    [[nodiscard]] Result<std::string> tier() const;

private:
    explicit Paths(std::string folder) : lab_(std::make_unique<e2e::TestLab>()), folder_(std::move(folder)) {}
    [[nodiscard]] Result<std::string> in_pod(const std::string& pod, const std::vector<std::string>& command,
                                             int seconds) const;
    [[nodiscard]] Result<std::string> address_of(const std::string& pod) const;

    std::unique_ptr<e2e::TestLab> lab_;
    std::string folder_; ///< certificates and configurations
    std::vector<Path> paths_;
};

} // namespace weft::bench
