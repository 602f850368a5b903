// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Who owns which object, and which version of it is in force.
#include "agent/store/store.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "agent/store/tables.hpp"

namespace weft::store {
namespace {

struct File {
    std::map<k8s::ObjectKey, Entry> objects; ///< last good versions
    std::vector<Refusal> refusals;
};

} // namespace

struct Store::State {
    std::map<std::string, File> files;
    std::map<k8s::ObjectKey, Entry> api;
    /// Files that have a good version of an object; several of them conflict.
    std::map<k8s::ObjectKey, std::set<std::string>> definers;
    std::set<k8s::ObjectKey> conflicts;
    WorkingTables tables;
    std::map<std::string, LocalEndpoint> endpoints;
    bool endpoints_touched = false;
    bool refusals_touched = false;
    std::shared_ptr<const Snapshot> published = std::make_shared<Snapshot>();

    void settle(const k8s::ObjectKey& key);
    void define(const std::string& file, const k8s::ObjectKey& key);
    void undefine(const std::string& file, const k8s::ObjectKey& key);
    [[nodiscard]] std::vector<Refusal> all_refusals() const;
};

// Puts the version in force that ought to be: the API server's, else that of the first file by name.
void Store::State::settle(const k8s::ObjectKey& key) {
    const Name name{key.namespace_name, key.name};
    const auto in_api = api.find(key);
    const auto in_files = definers.find(key);
    const std::size_t versions =
        (in_api == api.end() ? 0 : 1) + (in_files == definers.end() ? 0 : in_files->second.size());
    if (versions > 1) {
        conflicts.insert(key);
        refusals_touched = true;
    } else if (conflicts.erase(key) != 0) {
        refusals_touched = true;
    }
    if (versions != 0) {
        const Entry& entry = in_api != api.end() ? in_api->second : files.at(*in_files->second.begin()).objects.at(key);
        std::visit([&]<typename T>(
                       const std::shared_ptr<const T>& object) { std::get<WorkingTable<T>>(tables).set(name, object); },
                   entry);
        return;
    }
    std::apply(
        [&]<typename... T>(WorkingTable<T>&... table) {
            // The kind is known by name only here; the key of an empty object gives each table's.
            ((key.kind == k8s::key_of(k8s::Object(T{})).kind ? table.erase(name) : void()), ...);
        },
        tables);
}

void Store::State::define(const std::string& file, const k8s::ObjectKey& key) {
    definers[key].insert(file);
    settle(key);
}

void Store::State::undefine(const std::string& file, const k8s::ObjectKey& key) {
    if (const auto found = definers.find(key); found != definers.end()) {
        found->second.erase(file);
        if (found->second.empty()) {
            definers.erase(found);
        }
    }
    settle(key);
}

std::vector<Refusal> Store::State::all_refusals() const {
    std::vector<Refusal> all;
    for (const auto& [name, file] : files) {
        all.insert(all.end(), file.refusals.begin(), file.refusals.end());
    }
    for (const k8s::ObjectKey& key : conflicts) {
        const auto in_files = definers.find(key);
        const auto in_api = api.find(key);
        const k8s::Origin& winner =
            meta_of(in_api != api.end() ? in_api->second : files.at(*in_files->second.begin()).objects.at(key)).origin;
        bool first = in_api == api.end(); // the first file is the winner then, and not refused
        for (const std::string& file : in_files->second) {
            if (std::exchange(first, false)) {
                continue;
            }
            const k8s::Origin& loser = meta_of(files.at(file).objects.at(key)).origin;
            const std::string where = in_api != api.end() ? std::string("by the API server")
                                                          : fmt::format("at {}:{}", winner.file, winner.line);
            all.push_back({key, loser, "metadata.name",
                           fmt::format("already defined {}, which is in force: remove one of the two", where), false});
        }
    }
    return all;
}

Store::Store() : state_(std::make_unique<State>()) {}
Store::~Store() = default;
Store::Store(Store&&) noexcept = default;
Store& Store::operator=(Store&&) noexcept = default;

void Store::replace_file(const std::string& name, k8s::ParseOutcome outcome) {
    File& file = state_->files[name];
    std::set<k8s::ObjectKey> mentioned;
    for (k8s::Object& object : outcome.objects) {
        const k8s::ObjectKey key = k8s::key_of(object);
        mentioned.insert(key);
        Entry entry = make_entry(std::move(object));
        const auto [known, fresh] = file.objects.try_emplace(key, entry);
        if (!fresh && same_content(known->second, entry)) {
            continue;
        }
        known->second = std::move(entry);
        state_->define(name, key);
    }
    for (Refusal& refusal : outcome.refusals) {
        mentioned.insert(refusal.key);
        // A fault that no object can be named for leaves whatever the file defined before.
        refusal.last_good_in_force =
            file.objects.contains(refusal.key) || (refusal.key.name.empty() && !file.objects.empty());
    }
    if (!outcome.incomplete) {
        for (auto known = file.objects.begin(); known != file.objects.end();) {
            if (mentioned.contains(known->first)) {
                ++known;
                continue;
            }
            const k8s::ObjectKey key = known->first;
            known = file.objects.erase(known);
            state_->undefine(name, key);
        }
    }
    if (file.refusals != outcome.refusals) {
        file.refusals = std::move(outcome.refusals);
        state_->refusals_touched = true;
    }
}

void Store::remove_file(const std::string& name) {
    const auto found = state_->files.find(name);
    if (found == state_->files.end()) {
        return;
    }
    const File file = std::move(found->second);
    state_->refusals_touched |= !file.refusals.empty();
    for (const auto& [key, entry] : file.objects) {
        state_->definers[key].erase(name);
    }
    state_->files.erase(found);
    for (const auto& [key, entry] : file.objects) {
        state_->undefine(name, key);
    }
}

std::vector<std::string> Store::files() const {
    std::vector<std::string> names;
    for (const auto& [name, file] : state_->files) {
        names.push_back(name);
    }
    return names;
}

void Store::upsert(k8s::Object object) {
    const k8s::ObjectKey key = k8s::key_of(object);
    Entry entry = make_entry(std::move(object));
    const auto [known, fresh] = state_->api.try_emplace(key, entry);
    if (!fresh && same_content(known->second, entry)) {
        return;
    }
    known->second = std::move(entry);
    state_->settle(key);
}

void Store::remove(const k8s::ObjectKey& key) {
    if (state_->api.erase(key) != 0) {
        state_->settle(key);
    }
}

void Store::set_endpoint(LocalEndpoint endpoint) {
    LocalEndpoint& known = state_->endpoints[endpoint.container_id];
    if (known != endpoint) {
        known = std::move(endpoint);
        state_->endpoints_touched = true;
    }
}

void Store::remove_endpoint(const std::string& container_id) {
    state_->endpoints_touched |= state_->endpoints.erase(container_id) != 0;
}

std::shared_ptr<const Snapshot> Store::snapshot() {
    State& state = *state_;
    bool changed = std::apply([](auto&... table) { return (int{table.publish()} + ...) != 0; }, state.tables);
    auto next = std::make_shared<Snapshot>(*state.published);
    if (std::exchange(state.endpoints_touched, false) && state.endpoints != *next->endpoints) {
        next->endpoints = std::make_shared<const std::map<std::string, LocalEndpoint>>(state.endpoints);
        changed = true;
    }
    if (std::exchange(state.refusals_touched, false)) {
        if (auto refusals = state.all_refusals(); refusals != *next->refusals) {
            next->refusals = std::make_shared<const std::vector<Refusal>>(std::move(refusals));
            changed = true;
        }
    }
    if (!changed) {
        return state.published;
    }
    const auto table = [&]<typename T>(std::shared_ptr<const Table<T>>& into) {
        into = std::get<WorkingTable<T>>(state.tables).published;
    };
    table(next->namespaces);
    table(next->nodes);
    table(next->service_accounts);
    table(next->pods);
    table(next->deployments);
    table(next->services);
    table(next->slices);
    table(next->policies);
    table(next->mesh_tls);
    table(next->mesh_configs);
    ++next->version;
    state.published = std::move(next);
    return state.published;
}

} // namespace weft::store
