// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// A weft-ca on loopback for tests, with a folder of manifests and a clock that a test sets. Everything is below one
// temporary folder that goes away with it.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "agent/ca/server.hpp"

namespace weft::ca::test {

/// A folder of its own, with mode 0700.
class TemporaryFolder {
public:
    TemporaryFolder();
    ~TemporaryFolder();
    TemporaryFolder(const TemporaryFolder&) = delete;
    TemporaryFolder& operator=(const TemporaryFolder&) = delete;
    [[nodiscard]] std::string path(const std::string& name = "") const {
        return name.empty() ? path_ : path_ + "/" + name;
    }
    /// Writes a file with that mode, replacing it whole.
    void write(const std::string& name, const std::string& text, unsigned mode = 0600) const;

private:
    std::string path_;
};

/// Seconds since the epoch that only a test moves. Begins at the real time.
class ManualClock {
public:
    ManualClock() : now_(pki::Time::clock::to_time_t(std::chrono::system_clock::now())) {}
    [[nodiscard]] pki::Time now() const { return pki::Time(std::chrono::seconds(now_.load())); }
    void advance(std::chrono::seconds by) { now_ += by.count(); }
    [[nodiscard]] std::function<pki::Time()> reader() {
        return [this] { return now(); };
    }

private:
    std::atomic<std::int64_t> now_;
};

/// Polls until `holds` or twenty seconds are over; whether it held.
bool eventually(const std::function<bool()>& holds);

/// One Pod as YAML.
std::string pod_yaml(const std::string& node, const std::string& namespace_name, const std::string& account);

/// The authority and its server.
class CaWorld {
public:
    /// Not started yet; the authority is made.
    explicit CaWorld(const Lifetimes& lives = {});
    /// Starts it, on the same port as before when it ran before.
    void start();
    void stop() { server_.reset(); }
    [[nodiscard]] Server& server() { return *server_; }
    [[nodiscard]] Issuer& issuer() { return server_->issuer(); }
    [[nodiscard]] std::string address() const;
    [[nodiscard]] std::string folder() const { return files_.path("ca"); }
    [[nodiscard]] TemporaryFolder& files() { return files_; }
    [[nodiscard]] ManualClock& clock() { return clock_; }
    /// A token for that node, and the fingerprint that goes with it.
    CreateTokenResponse token(const std::string& node, std::int64_t lifetime = 0);
    void schedule(const std::string& node, const std::string& namespace_name, const std::string& account);
    /// One step of a rotation; the error's text, or "".
    std::string rotate(RotateRequest::Step step, bool force = false);
    /// Lines of the audit log that hold all of the words.
    std::size_t audited(const std::vector<std::string>& words) const;

private:
    TemporaryFolder files_;
    ManualClock clock_;
    int port_ = 0;
    std::unique_ptr<Server> server_;
};

} // namespace weft::ca::test
