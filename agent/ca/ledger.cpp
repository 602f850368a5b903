// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// issued.jsonl only grows while running; it is rewritten when most of its lines have expired.
#include "agent/ca/ledger.hpp"

#include <algorithm>
#include <set>

#include "agent/ca/pki/durable_file.hpp"

namespace weft::ca {
namespace {

using Json = nlohmann::json;

constexpr const char* kIssuedFile = "issued.jsonl";
constexpr const char* kRevokedFile = "revoked.json";
constexpr std::size_t kMostBytes = std::size_t{1} << 30;
constexpr std::size_t kRewriteAbove = 1000;
constexpr std::string_view kScheme = "spiffe://";

std::string line_of(const std::string& serial, const Issued& entry) {
    return Json{{"serial", serial},
                {"id", entry.id},
                {"node", entry.node},
                {"root", entry.root},
                {"at", entry.at.time_since_epoch().count()},
                {"not_after", entry.not_after.time_since_epoch().count()}}
        .dump(-1, ' ', false, Json::error_handler_t::replace);
}

/// Serial and entry of a line. Error: EINVAL for a damaged one.
Result<std::pair<std::string, Issued>> parse_line(std::string_view line) {
    const auto object = Json::parse(line, nullptr, false);
    if (!object.is_object()) {
        return invalid("no JSON object");
    }
    Issued entry;
    WEFT_ASSIGN(auto serial, json_field<std::string>(object, "serial"));
    WEFT_ASSIGN(entry.id, json_field<std::string>(object, "id"));
    WEFT_ASSIGN(entry.node, json_field<std::string>(object, "node"));
    WEFT_ASSIGN(entry.root, json_field<unsigned>(object, "root"));
    WEFT_ASSIGN(const auto at, json_field<std::int64_t>(object, "at"));
    WEFT_ASSIGN(const auto not_after, json_field<std::int64_t>(object, "not_after"));
    entry.at = Time(seconds(at));
    entry.not_after = Time(seconds(not_after));
    return std::pair(std::move(serial), std::move(entry));
}

Result<std::vector<Revoked>> read_revoked(const StateFolder& folder) {
    std::vector<Revoked> all;
    const auto object = folder.read_json(kRevokedFile);
    if (!object) {
        return object.error().code() == ENOENT ? Result<std::vector<Revoked>>(all) : std::unexpected(object.error());
    }
    const auto entries = object->find("revoked");
    if (entries == object->end() || !entries->is_array()) {
        return invalid("{}: revoked: missing or no array", folder.file(kRevokedFile));
    }
    for (const auto& one : *entries) {
        const auto serial = json_field<std::string>(one, "serial");
        const auto id = json_field<std::string>(one, "id");
        const auto at = json_field<std::int64_t>(one, "at");
        const auto expires = json_field<std::int64_t>(one, "expires");
        // A lost entry would let a stolen key in again: no guessing here.
        if (!serial || !id || !at || !expires || serial->empty() == id->empty()) {
            return invalid("{}: an entry is damaged: restore the file from a backup", folder.file(kRevokedFile));
        }
        all.push_back({*serial, *id, Time(seconds(*at)), Time(seconds(*expires))});
    }
    return all;
}

} // namespace

Result<Ledger> Ledger::open(const StateFolder& folder, Time now) {
    Ledger ledger;
    WEFT_ASSIGN(ledger.revoked_, read_revoked(folder));
    auto text = pki::read_private(folder.file(kIssuedFile), pki::Access::kOwner, kMostBytes);
    if (!text && text.error().code() != ENOENT) {
        return std::unexpected(text.error());
    }
    std::string_view rest = text ? std::string_view(*text) : std::string_view();
    while (!rest.empty()) {
        const auto end = rest.find('\n');
        const auto line = rest.substr(0, end);
        ++ledger.lines_;
        // A torn line is one whose certificate was never handed out: record() had not returned.
        if (auto entry = parse_line(line)) {
            ledger.issued_.insert_or_assign(std::move(entry->first), std::move(entry->second));
        }
        rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
    }
    WEFT_TRY(ledger.prune(folder, now));
    return ledger;
}

Result<> Ledger::record(const StateFolder& folder, const std::string& serial, Issued entry) {
    WEFT_TRY(pki::append_line(folder.file(kIssuedFile), line_of(serial, entry), true));
    ++lines_;
    issued_.insert_or_assign(serial, std::move(entry));
    return {};
}

Result<std::vector<Revoked>> Ledger::revoke(const StateFolder& folder, const std::string& what, Time now) {
    std::vector<Revoked> added;
    const auto add_serial = [&](const std::string& serial, Time expires) {
        if (std::ranges::find(revoked_, serial, &Revoked::serial) == revoked_.end()) {
            added.push_back({serial, "", now, expires});
        }
    };
    if (what.starts_with(kScheme)) {
        if (std::ranges::find(revoked_, what, &Revoked::id) == revoked_.end()) {
            added.push_back({"", what, now, Time{}});
        }
        const auto node_at = what.find("/node/");
        const auto node = node_at == std::string::npos ? std::string() : what.substr(node_at + 6);
        for (const auto& [serial, entry] : issued_) {
            if (entry.id == what || (!node.empty() && entry.node == node)) {
                add_serial(serial, entry.not_after);
            }
        }
    } else {
        std::string serial = what;
        std::erase(serial, ':'); // as OpenSSL and browsers print it
        std::ranges::transform(serial, serial.begin(),
                               [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
        const auto found = issued_.find(serial);
        if (found == issued_.end()) {
            return failure(ENOENT, "no living certificate has the serial number {}: weft-ca show lists them", serial);
        }
        add_serial(serial, found->second.not_after);
    }
    const auto before = revoked_.size();
    revoked_.insert(revoked_.end(), added.begin(), added.end());
    if (auto saved = save_revoked(folder); !saved) {
        revoked_.resize(before);
        return std::unexpected(saved.error());
    }
    return added;
}

Result<std::vector<Revoked>> Ledger::allow(const StateFolder& folder, const std::string& id) {
    const auto found = id.empty() ? revoked_.end() : std::ranges::find(revoked_, id, &Revoked::id);
    if (found == revoked_.end()) {
        return failure(ENOENT, "the identity {} is not revoked", id);
    }
    std::vector gone{*found};
    const auto kept = revoked_;
    revoked_.erase(found);
    if (auto saved = save_revoked(folder); !saved) {
        revoked_ = kept;
        return std::unexpected(saved.error());
    }
    return gone;
}

bool Ledger::is_revoked(std::string_view serial, std::string_view id) const {
    return std::ranges::any_of(
        revoked_, [&](const Revoked& one) { return one.serial.empty() ? one.id == id : one.serial == serial; });
}

std::vector<std::string> Ledger::in_use_below(unsigned root, Time now) const {
    std::set<std::pair<std::string_view, std::string_view>> renewed;
    for (const auto& [serial, entry] : issued_) {
        if (entry.root != root && !entry.node.empty()) {
            renewed.emplace(entry.id, entry.node);
        }
    }
    std::vector<std::string> serials;
    for (const auto& [serial, entry] : issued_) {
        if (entry.root == root && entry.not_after > now && !renewed.contains({entry.id, entry.node}) &&
            !is_revoked(serial, entry.id)) {
            serials.push_back(serial);
        }
    }
    return serials;
}

Result<bool> Ledger::prune(const StateFolder& folder, Time now) {
    std::erase_if(issued_, [now](const auto& entry) { return entry.second.not_after <= now; });
    if (lines_ > kRewriteAbove && lines_ > 2 * issued_.size()) {
        WEFT_TRY(rewrite_issued(folder));
        lines_ = issued_.size();
    }
    const auto gone =
        std::erase_if(revoked_, [now](const Revoked& one) { return one.expires != Time{} && one.expires <= now; });
    if (gone > 0) {
        WEFT_TRY(save_revoked(folder));
    }
    return gone > 0;
}

Result<> Ledger::save_revoked(const StateFolder& folder) const {
    Json entries = Json::array();
    for (const auto& one : revoked_) {
        entries.push_back({{"serial", one.serial},
                           {"id", one.id},
                           {"at", one.at.time_since_epoch().count()},
                           {"expires", one.expires.time_since_epoch().count()}});
    }
    return folder.write_json(kRevokedFile, {{"revoked", std::move(entries)}});
}

Result<> Ledger::rewrite_issued(const StateFolder& folder) const {
    std::string text;
    for (const auto& [serial, entry] : issued_) {
        text += line_of(serial, entry);
        text += '\n';
    }
    return pki::write_durable(folder.file(kIssuedFile), text);
}

} // namespace weft::ca
