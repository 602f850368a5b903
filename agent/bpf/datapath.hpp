// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// How do Weft's BPF programs and maps get into the kernel, stay there without an agent, and move to a new agent or to
// larger maps without a gap? Layout: PIN_DIR/v<ABI>/maps/NAME and PIN_DIR/v<ABI>/links/NAME on a BPF file system.
// Thread: control. Destroying a Datapath never detaches anything; only bpf::uninstall() does.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/bpf/config_maps.hpp"
#include "weft/base/result.hpp"

struct weft_bpf; // the generated skeleton

namespace weft::bpf {

/// Fills config maps that no program reads yet, or that a previous agent left (then only differences are written).
using FillMaps = std::function<Result<>(const ConfigMaps&)>;

struct DatapathOptions {
    std::string pin_dir;     ///< below a mounted BPF file system; this node's own
    std::string cgroup_path; ///< cgroup v2 directory that holds all workloads
    MapSizes sizes;          ///< entries that the first fill will write
    /// Capacity of weft_traffic when it is made; one that is pinned keeps its own.
    std::uint32_t traffic_entries = 65536;
    /// Sets load-time constants (`cfg_*`) between open and load; may be empty.
    std::function<void(weft_bpf&)> configure;
};

/// What open() or grow() did to the hooks.
struct DatapathStats {
    std::size_t attached = 0;   ///< hooks that were attached newly
    std::size_t replaced = 0;   ///< hooks whose program was replaced inside the living link
    std::size_t reattached = 0; ///< hooks that were on another cgroup and were moved
    bool maps_adopted = false;  ///< config maps of a previous agent are in use
    bool maps_grown = false;    ///< config maps were replaced by larger ones
};

class Datapath {
public:
    /// Loads the programs, takes over or creates maps, runs `fill`, and only then attaches or replaces programs.
    /// Errors name the remedy: cgroup_path missing (ENOENT), no BPF file system (ENODEV), pinned maps of another
    /// layout (EPROTO, "weft uninstall"), a program that the verifier refuses (its log's last lines).
    /// On error the hooks of a previous agent go on as they were.
    static Result<Datapath> open(DatapathOptions options, const FillMaps& fill);

    Datapath(Datapath&&) noexcept;
    Datapath& operator=(Datapath&&) noexcept;
    ~Datapath();

    /// The maps to reconcile. After grow() these are new ones.
    [[nodiscard]] const ConfigMaps& maps() const;
    [[nodiscard]] const DatapathStats& stats() const;

    /// Moves to config maps for `sizes` entries: creates and fills them, switches hook by hook, then replaces the pins.
    /// State maps (sockets, UDP translations, affinity, counts, counters, events) are kept. On error the old maps go
    /// on, and whoever reconciles must go back to maps().
    Result<> grow(const MapSizes& sizes, const FillMaps& fill);

    /// Descriptor of a map by name ("weft_events"), borrowed until the next grow(); error ENOENT.
    [[nodiscard]] Result<int> map_fd(const std::string& name) const;
    /// Descriptor of a program by name ("weft_conn_iter"), borrowed until the next grow(); error ENOENT.
    [[nodiscard]] Result<int> program_fd(const std::string& name) const;
    /// Names of the hooks that are attached.
    [[nodiscard]] std::vector<std::string> hooks() const;

private:
    struct Loaded;
    explicit Datapath(DatapathOptions options);

    Result<> load(const MapSizes& sizes, bool fresh_config, const FillMaps& fill);

    DatapathOptions options_;
    std::unique_ptr<Loaded> loaded_;
    DatapathStats stats_;
};

} // namespace weft::bpf
