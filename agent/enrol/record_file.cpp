// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Endpoint records as JSON files.
#include "agent/enrol/record_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "weft/base/unique_fd.hpp"

namespace weft::enrol {
namespace {

using Json = nlohmann::json;

constexpr int kFormat = 1;
constexpr std::size_t kMaxRecord = 65536;

Result<std::string> text_of(const Json& object, const char* field) {
    const auto at = object.find(field);
    if (at == object.end() || !at->is_string()) {
        return invalid("{}: missing or no string", field);
    }
    return at->get<std::string>();
}

} // namespace

std::string format_record(const EndpointRecord& record) {
    Json ips = Json::array();
    for (const Ip& ip : record.endpoint.ips) {
        ips.push_back(ip.to_string());
    }
    const Json object = {
        {"format", kFormat},
        {"namespace", record.endpoint.namespace_name},
        {"pod", record.endpoint.pod_name},
        {"uid", record.endpoint.pod_uid},
        {"container_id", record.endpoint.container_id},
        {"netns", record.endpoint.netns_path},
        {"netns_cookie", record.endpoint.netns_cookie},
        {"ips", std::move(ips)},
        {"ifname", record.ifname},
        {"network", record.network},
    };
    return object.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

Result<EndpointRecord> parse_record(std::string_view text) {
    const Json object = Json::parse(text, nullptr, false);
    if (!object.is_object()) {
        return invalid("no JSON object");
    }
    if (const auto at = object.find("format"); at == object.end() || *at != kFormat) {
        return invalid("format: not {}", kFormat);
    }
    EndpointRecord record;
    WEFT_ASSIGN(record.endpoint.namespace_name, text_of(object, "namespace"));
    WEFT_ASSIGN(record.endpoint.pod_name, text_of(object, "pod"));
    WEFT_ASSIGN(record.endpoint.pod_uid, text_of(object, "uid"));
    WEFT_ASSIGN(record.endpoint.container_id, text_of(object, "container_id"));
    WEFT_TRY(check_container_id(record.endpoint.container_id));
    WEFT_ASSIGN(record.endpoint.netns_path, text_of(object, "netns"));
    WEFT_ASSIGN(record.ifname, text_of(object, "ifname"));
    WEFT_ASSIGN(record.network, text_of(object, "network"));
    const auto cookie = object.find("netns_cookie");
    if (cookie == object.end() || !cookie->is_number_unsigned()) {
        return invalid("netns_cookie: missing or no positive number");
    }
    record.endpoint.netns_cookie = cookie->get<std::uint64_t>();
    const auto ips = object.find("ips");
    if (ips == object.end() || !ips->is_array()) {
        return invalid("ips: missing or no array");
    }
    for (const Json& item : *ips) {
        if (!item.is_string()) {
            return invalid("ips: an entry is no string");
        }
        WEFT_ASSIGN(const Ip ip, Ip::parse(item.get_ref<const std::string&>()));
        record.endpoint.ips.push_back(ip);
    }
    return record;
}

Result<> write_record(const std::string& path, const EndpointRecord& record) {
    const std::string side = path + ".new";
    const std::string text = format_record(record);
    UniqueFd fd(::open(side.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!fd.valid()) {
        return system_failure("create {}", side);
    }
    // No fsync: namespaces do not outlive the kernel, so a record need not outlive a power cut.
    const ssize_t put = ::write(fd.get(), text.data(), text.size());
    if (put != static_cast<ssize_t>(text.size())) {
        const int code = put < 0 ? errno : ENOSPC;
        (void)::unlink(side.c_str()); // best effort: the failed write is the one to report
        return failure(code, "write {}: {}", side, std::strerror(code));
    }
    if (::rename(side.c_str(), path.c_str()) != 0) {
        return system_failure("rename {} to {}", side, path);
    }
    return {};
}

Result<EndpointRecord> read_record(const std::string& path) {
    const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
    if (!fd.valid()) {
        return system_failure("open {}", path);
    }
    std::string text(kMaxRecord + 1, '\0');
    std::size_t size = 0;
    while (size < text.size()) {
        const ssize_t got = ::read(fd.get(), text.data() + size, text.size() - size);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return system_failure("read {}", path);
        }
        if (got == 0) {
            break;
        }
        size += static_cast<std::size_t>(got);
    }
    if (size > kMaxRecord) {
        return failure(EFBIG, "{}: longer than {} bytes", path, kMaxRecord);
    }
    text.resize(size);
    auto record = parse_record(text);
    if (!record) {
        return std::unexpected(record.error().within(path));
    }
    return record;
}

} // namespace weft::enrol
