// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Which pods of this node are enrolled, also after a restart of the agent? One small JSON file per container in a
// folder that lives as long as the network namespaces do (below /run). A record whose namespace is gone is worthless.
// Thread: control.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "agent/store/snapshot.hpp"
#include "weft/base/result.hpp"

namespace weft::enrol {

/// An enrolled pod, with what only the CNI verbs need.
struct EndpointRecord {
    store::LocalEndpoint endpoint;
    std::string ifname;  ///< CNI_IFNAME of the ADD
    std::string network; ///< name of the network configuration

    friend bool operator==(const EndpointRecord&, const EndpointRecord&) = default;
};

/// Cookie of the network namespace at a path; ENOENT when nothing is there.
using NetnsCookie = std::function<Result<std::uint64_t>(const std::string& path)>;

/// A container id as the CNI specification allows it (and so a harmless file name): alphanumeric first, then also
/// '_', '.', '-'; at most 200 characters. Error: EINVAL.
Result<> check_container_id(std::string_view container_id);

class EndpointRegistry {
public:
    /// Uses (and makes, mode 0700) the folder. Reads nothing yet. Error: errno of the failed call.
    static Result<EndpointRegistry> open(std::string folder, NetnsCookie cookie);

    struct LoadReport {
        std::vector<EndpointRecord> dropped; ///< their namespace is gone or another one; the files were removed
        std::vector<Error> errors;           ///< unreadable files, each named; they are left as they are and ignored
    };
    /// Reads every record. Called once, before the first put().
    LoadReport load();

    /// Writes the record (atomically, mode 0600) and remembers it. Error: EINVAL for a bad container id, errno
    /// otherwise.
    Result<> put(EndpointRecord record);
    /// Forgets a container; fine when there is none. Error: errno when the file stays.
    Result<> erase(const std::string& container_id);

    /// nullptr when unknown; valid until the next put, erase or load.
    [[nodiscard]] const EndpointRecord* find(const std::string& container_id) const;
    [[nodiscard]] const EndpointRecord* find_pod(std::string_view namespace_name, std::string_view pod_name) const;
    [[nodiscard]] const EndpointRecord* find_ip(const Ip& ip) const;
    /// By container id.
    [[nodiscard]] const std::map<std::string, EndpointRecord>& records() const { return records_; }

    /// Is the namespace of this record still there, and still the same one?
    [[nodiscard]] bool alive(const EndpointRecord& record) const;
    /// Cookie of the namespace at `path`.
    [[nodiscard]] Result<std::uint64_t> cookie(const std::string& path) const { return cookie_(path); }
    /// Container ids whose namespace vanished without a DEL. Removes nothing.
    [[nodiscard]] std::vector<std::string> sweep() const;

private:
    EndpointRegistry(std::string folder, NetnsCookie cookie) : folder_(std::move(folder)), cookie_(std::move(cookie)) {}
    [[nodiscard]] std::string file_of(const std::string& container_id) const;

    std::string folder_;
    NetnsCookie cookie_;
    std::map<std::string, EndpointRecord> records_;
};

} // namespace weft::enrol
