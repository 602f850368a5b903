// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Everything that the sources said, with who said it: files own their objects, a refused object keeps its last good
// version, and a snapshot copies only the tables that changed.
// Thread: control
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "agent/k8s/objects.hpp"
#include "agent/k8s/parse.hpp"
#include "agent/store/snapshot.hpp"

namespace weft::store {

class Store {
public:
    Store();
    ~Store();
    Store(Store&&) noexcept;
    Store& operator=(Store&&) noexcept;
    Store(const Store&) = delete;
    Store& operator=(const Store&) = delete;

    /// Makes `outcome` the whole content of `file`. What the file defined before and does not mention any more is
    /// deleted; what it still mentions but was refused keeps its last good version, as does everything when a
    /// document could not be attributed. Of an object in two files the one in the first file by name is in force,
    /// the other is refused.
    void replace_file(const std::string& file, k8s::ParseOutcome outcome);
    /// Deletes everything that only `file` defined, and its refusals.
    void remove_file(const std::string& file);
    /// Files that are known, in order.
    [[nodiscard]] std::vector<std::string> files() const;

    /// Sets one object of the API server; it is in force over any file's version of the same object.
    void upsert(k8s::Object object);
    /// Deletes an object that upsert() set; a file's version of it, if any, comes in force.
    void remove(const k8s::ObjectKey& key);

    /// Sets a pod of this node by its container id.
    void set_endpoint(LocalEndpoint endpoint);
    /// Forgets it; unknown ids are no error.
    void remove_endpoint(const std::string& container_id);

    /// The present state. The same pointer as before when nothing changed since; unchanged tables and objects are
    /// shared with the snapshot before.
    std::shared_ptr<const Snapshot> snapshot();

private:
    struct State;
    std::unique_ptr<State> state_;
};

} // namespace weft::store
