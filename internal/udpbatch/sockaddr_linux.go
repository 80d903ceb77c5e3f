package udpbatch

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// family is the address family of a socket: what its addresses look like to the kernel.
type family struct {
	ipv4 bool // AF_INET; else AF_INET6
	dual bool // AF_INET6 that takes IPv4 as ::ffff:a.b.c.d
}

func socketFamily(fd int) (family, error) {
	domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return family{}, os.NewSyscallError("getsockopt SO_DOMAIN", err)
	}
	if domain == unix.AF_INET {
		return family{ipv4: true}, nil
	}
	only, err := unix.GetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY)
	if err != nil {
		return family{}, os.NewSyscallError("getsockopt IPV6_V6ONLY", err)
	}
	return family{dual: only == 0}, nil
}

// sockaddrBytes is the length of the family's sockaddr.
func (f family) sockaddrBytes() uint32 {
	if f.ipv4 {
		return unix.SizeofSockaddrInet4
	}
	return unix.SizeofSockaddrInet6
}

// encodeAddr writes addr as a sockaddr of the socket's family, for which a sockaddr_in6 is large enough. It reports false
// if the socket cannot reach such an address. Hot path.
func (e *batchEngine) encodeAddr(name *unix.RawSockaddrInet6, addr netip.AddrPort) bool {
	ip := addr.Addr()
	if !ip.IsValid() || addr.Port() == 0 {
		return false
	}
	v4 := ip.Is4() || ip.Is4In6()
	if e.family.ipv4 {
		if !v4 {
			return false
		}
		name4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(name))
		name4.Family = unix.AF_INET
		name4.Port = networkPort(addr.Port())
		name4.Addr = ip.Unmap().As4()
		return true
	}
	if v4 && !e.family.dual {
		return false
	}
	*name = unix.RawSockaddrInet6{Family: unix.AF_INET6, Port: networkPort(addr.Port()), Addr: ip.As16()}
	if zone := ip.Zone(); zone != "" {
		name.Scope_id = e.zones.index(zone)
	}
	return true
}

// decodeAddr reads the sender's address from a sockaddr, with IPv4 unmapped. Hot path.
func (e *batchEngine) decodeAddr(name *unix.RawSockaddrInet6) netip.AddrPort {
	if name.Family == unix.AF_INET {
		name4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(name))
		return netip.AddrPortFrom(netip.AddrFrom4(name4.Addr), networkPort(name4.Port))
	}
	ip := netip.AddrFrom16(name.Addr).Unmap()
	if name.Scope_id != 0 {
		ip = ip.WithZone(e.zones.name(name.Scope_id)) // leaves IPv4 alone
	}
	return netip.AddrPortFrom(ip, networkPort(name.Port))
}

// networkPort converts a port between the machine's byte order and that of the network, either way.
func networkPort(port uint16) uint16 {
	var b [2]byte
	binary.NativeEndian.PutUint16(b[:], port)
	return binary.BigEndian.Uint16(b[:])
}

// zonesMaxAge is how long the list of interfaces is believed. Package net uses the same minute.
const zonesMaxAge = time.Minute

// zones translates between the index of an interface, which the kernel wants with a link-local address, and its name, which
// netip has as the zone. Readers use a snapshot, so that a link-local sender costs a clock read and a map look-up.
type zones struct {
	mu       sync.Mutex // one refresh at a time
	snapshot atomic.Pointer[zoneTable]
}

type zoneTable struct {
	read    time.Time
	names   map[uint32]string
	indices map[string]uint32
}

// name returns the interface's name, or its index in digits if it has none.
func (z *zones) name(index uint32) string {
	if name, ok := z.table().names[index]; ok {
		return name
	}
	return strconv.FormatUint(uint64(index), 10)
}

// index returns the interface's index, or the number that the zone spells, or 0.
func (z *zones) index(name string) uint32 {
	if index, ok := z.table().indices[name]; ok {
		return index
	}
	index, err := strconv.ParseUint(name, 10, 32)
	if err != nil {
		return 0
	}
	return uint32(index)
}

func (z *zones) table() *zoneTable {
	table := z.snapshot.Load()
	if table != nil && time.Since(table.read) < zonesMaxAge {
		return table
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	if newer := z.snapshot.Load(); newer != table {
		return newer
	}
	table = readZones()
	z.snapshot.Store(table)
	return table
}

func readZones() *zoneTable {
	table := &zoneTable{read: time.Now(), names: map[uint32]string{}, indices: map[string]uint32{}}
	interfaces, _ := net.Interfaces() // without a list, zones are numbers
	for _, i := range interfaces {
		table.names[uint32(i.Index)] = i.Name
		table.indices[i.Name] = uint32(i.Index)
	}
	return table
}
