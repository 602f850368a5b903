// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// A real Prometheus beside a lab's agent: in the node's network namespace, on loopback, with a data folder of its own.
#pragma once

#include <optional>
#include <string>

#include <nlohmann/json.hpp>

#include "tools/lab/process.hpp"

namespace weft::e2e {

class Prometheus {
public:
    /// Scrapes 127.0.0.1:9964 twice a second as job `weft`, inside the network namespace at `netns`. `folder` holds
    /// its configuration and data; `rules`: a file of rules, or empty. Expects that it becomes ready.
    Prometheus(std::string netns, std::string folder, const std::string& rules = "");
    ~Prometheus();
    Prometheus(const Prometheus&) = delete;
    Prometheus& operator=(const Prometheus&) = delete;

    /// An answer of /api/v1/PATH with these parameters ("query=up"); null, and a failed expectation, unless "success".
    [[nodiscard]] nlohmann::json ask(const std::string& path, const std::string& parameter) const;
    /// data.result of an instant query.
    [[nodiscard]] nlohmann::json query(const std::string& expression) const;
    /// Value of an instant query that has one result; nothing when it has none.
    [[nodiscard]] std::optional<double> value(const std::string& expression) const;

private:
    [[nodiscard]] std::string get(const std::string& path, const std::string& parameter) const;
    std::string netns_;
    lab::Child child_;
};

} // namespace weft::e2e
