// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// An OTLP receiver that keeps what it gets, fails when told to, and can be away. Thread: its own; questions from any.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "weft/base/result.hpp"

namespace weft::test {

/// A record as it arrived: its own fields and the attributes as text ("7", "true").
struct Received {
    std::map<std::string, std::string> fields, attributes, resource;
    std::string scope;
};

/// How the next request is answered; `code` 0 with `rejected` is a partial success.
struct Answer {
    int code = 0; ///< of gRPC
    long retry_after_ms = -1; ///< not negative: with RetryInfo
    long rejected = 0;
    long delay_ms = 0; ///< before the answer
};

class OtlpReceiver {
public:
    /// `address` as gRPC takes it: "127.0.0.1:0", "unix:/path". With `certificate` and `key` (PEM texts) by TLS.
    explicit OtlpReceiver(std::string address, std::string certificate = "", std::string key = "");
    ~OtlpReceiver();
    OtlpReceiver(const OtlpReceiver&) = delete;
    OtlpReceiver& operator=(const OtlpReceiver&) = delete;

    /// Goes away; and comes back at the same address.
    void stop();
    void start();
    [[nodiscard]] int port() const { return port_; }

    /// For the requests to come, one each; then all succeed.
    void answer(std::deque<Answer> answers);
    [[nodiscard]] std::vector<Received> logs() const;
    [[nodiscard]] std::vector<Received> spans() const;
    /// Requests so far, answered in whatever way, with their times (CLOCK_MONOTONIC, ms) and metadata.
    struct Request {
        long at_ms = 0;
        std::map<std::string, std::string> metadata;
    };
    [[nodiscard]] std::vector<Request> requests() const;

private:
    class Services;
    std::string address_, certificate_, key_;
    int port_ = 0;
    std::unique_ptr<Services> services_;
};

} // namespace weft::test
