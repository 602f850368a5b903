// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The enrolled pods in memory, each with its file.
#include "agent/enrol/registry.hpp"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <system_error>

#include "agent/enrol/record_file.hpp"

namespace weft::enrol {
namespace {

constexpr std::size_t kMaxContainerId = 200; // with ".json.new" still a file name
constexpr std::string_view kSuffix = ".json";

bool alphanumeric(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

} // namespace

Result<> check_container_id(std::string_view container_id) {
    const bool fine =
        !container_id.empty() && container_id.size() <= kMaxContainerId && alphanumeric(container_id.front()) &&
        std::ranges::all_of(container_id, [](char c) { return alphanumeric(c) || c == '_' || c == '.' || c == '-'; });
    if (!fine) {
        return invalid("container_id: 1 to {} characters of a-z, A-Z, 0-9, '_', '.', '-', the first a letter or digit",
                       kMaxContainerId);
    }
    return {};
}

Result<EndpointRegistry> EndpointRegistry::open(std::string folder, NetnsCookie cookie) {
    std::error_code error;
    std::filesystem::create_directories(folder, error);
    if (!error) {
        std::filesystem::permissions(folder, std::filesystem::perms::owner_all, error);
    }
    if (error) {
        return failure(error.value(), "folder of endpoint records {}: {}", folder, error.message());
    }
    return EndpointRegistry(std::move(folder), std::move(cookie));
}

std::string EndpointRegistry::file_of(const std::string& container_id) const {
    return fmt::format("{}/{}{}", folder_, container_id, kSuffix);
}

EndpointRegistry::LoadReport EndpointRegistry::load() {
    LoadReport report;
    records_.clear();
    std::error_code error;
    std::filesystem::directory_iterator entries(folder_, error);
    if (error) {
        report.errors.emplace_back(error.value(), fmt::format("read folder {}: {}", folder_, error.message()));
        return report;
    }
    for (const std::filesystem::directory_iterator end; entries != end; entries.increment(error)) {
        const std::filesystem::path path = entries->path();
        if (path.extension() != kSuffix) {
            continue; // a side file of a write that was cut short
        }
        auto record = read_record(path.string());
        if (record && record->endpoint.container_id != path.stem().string()) {
            record = invalid("{}: container_id \"{}\" does not match the file's name", path.string(),
                             record->endpoint.container_id);
        }
        if (!record) {
            report.errors.push_back(std::move(record).error());
        } else if (!alive(*record)) {
            if (std::error_code gone; !std::filesystem::remove(path, gone) && gone) {
                report.errors.emplace_back(gone.value(), fmt::format("remove {}: {}", path.string(), gone.message()));
            }
            report.dropped.push_back(*std::move(record));
        } else {
            records_.insert_or_assign(record->endpoint.container_id, *record);
        }
        if (error) {
            break;
        }
    }
    if (error) {
        report.errors.emplace_back(error.value(), fmt::format("read folder {}: {}", folder_, error.message()));
    }
    return report;
}

Result<> EndpointRegistry::put(EndpointRecord record) {
    const std::string id = record.endpoint.container_id;
    WEFT_TRY(check_container_id(id));
    WEFT_TRY(write_record(file_of(id), record));
    records_.insert_or_assign(id, std::move(record));
    return {};
}

Result<> EndpointRegistry::erase(const std::string& container_id) {
    if (records_.erase(container_id) == 0) {
        return {};
    }
    const std::string path = file_of(container_id);
    if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
        return system_failure("remove {}", path);
    }
    return {};
}

const EndpointRecord* EndpointRegistry::find(const std::string& container_id) const {
    const auto at = records_.find(container_id);
    return at == records_.end() ? nullptr : &at->second;
}

const EndpointRecord* EndpointRegistry::find_pod(std::string_view namespace_name, std::string_view pod_name) const {
    const auto at = std::ranges::find_if(records_, [&](const auto& entry) {
        return entry.second.endpoint.namespace_name == namespace_name && entry.second.endpoint.pod_name == pod_name;
    });
    return at == records_.end() ? nullptr : &at->second;
}

const EndpointRecord* EndpointRegistry::find_ip(const Ip& ip) const {
    const auto at = std::ranges::find_if(records_, [&](const auto& entry) {
        const auto& ips = entry.second.endpoint.ips;
        return std::ranges::find(ips, ip) != ips.end();
    });
    return at == records_.end() ? nullptr : &at->second;
}

bool EndpointRegistry::alive(const EndpointRecord& record) const {
    const auto found = cookie_(record.endpoint.netns_path);
    return found.has_value() && *found == record.endpoint.netns_cookie;
}

std::vector<std::string> EndpointRegistry::sweep() const {
    std::vector<std::string> gone;
    for (const auto& [id, record] : records_) {
        if (!alive(record)) {
            gone.push_back(id);
        }
    }
    return gone;
}

} // namespace weft::enrol
