// Command tlogcheck verifies a log folder with other people's code alone: golang.org/x/mod/sumdb, which
// knows nothing of the program that wrote the log. It checks the checkpoint's signature, every hash tile,
// every entry and, with -old, that the log only grew since an older checkpoint.
//
// It prints one line of JSON and exits with 0, or names the first thing that does not hold and exits with 1.
//
//	GOPATH=/usr/share/gocode GO111MODULE=off go build -o tlogcheck main.go
package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	height = 8
	width  = 1 << height
)

func main() {
	log := flag.String("log", "", "the log's folder")
	vkey := flag.String("vkey", "", "file with the log's verifier key")
	old := flag.String("old", "", "an older checkpoint of the log")
	flag.Parse()
	if err := check(*log, *vkey, *old); err != nil {
		fmt.Fprintln(os.Stderr, "tlogcheck:", err)
		os.Exit(1)
	}
}

func check(log, vkey, old string) error {
	verifier, err := readVerifier(vkey)
	if err != nil {
		return err
	}
	head, err := readCheckpoint(filepath.Join(log, "checkpoint"), verifier)
	if err != nil {
		return err
	}
	if head.N == 0 && head.Hash != sha256.Sum256(nil) {
		return fmt.Errorf("checkpoint: the root of an empty log is not the digest of nothing")
	}
	leaves, err := readEntries(log, head)
	if err != nil {
		return err
	}
	if err := checkTiles(log, leaves); err != nil {
		return err
	}
	hashes := tlog.TileHashReader(head, &reader{log: log, cache: map[string][]byte{}})
	if err := checkRoot(head, hashes); err != nil {
		return err
	}
	if err := checkInclusion(head, hashes, leaves); err != nil {
		return err
	}
	if err := checkLeftovers(log, head); err != nil {
		return err
	}
	if err := checkOld(old, verifier, head, hashes); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{
		"size": head.N, "root": head.Hash.String(), "entries": len(leaves),
	})
}

func readVerifier(path string) (note.Verifier, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	verifier, err := note.NewVerifier(strings.TrimSpace(string(text)))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return verifier, nil
}

// readCheckpoint opens a signed note and reads origin, size and root from it.
func readCheckpoint(path string, verifier note.Verifier) (tlog.Tree, error) {
	var tree tlog.Tree
	text, err := os.ReadFile(path)
	if err != nil {
		return tree, err
	}
	signed, err := note.Open(text, note.VerifierList(verifier))
	if err != nil {
		return tree, fmt.Errorf("%s: %w", path, err)
	}
	lines := strings.Split(signed.Text, "\n")
	if len(lines) < 4 || lines[0] != verifier.Name() {
		return tree, fmt.Errorf("%s: not a checkpoint of %s", path, verifier.Name())
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 || strconv.FormatInt(size, 10) != lines[1] {
		return tree, fmt.Errorf("%s: no size", path)
	}
	root, err := base64.StdEncoding.DecodeString(lines[2])
	if err != nil || len(root) != tlog.HashSize {
		return tree, fmt.Errorf("%s: no root", path)
	}
	tree.N = size
	copy(tree.Hash[:], root)
	return tree, nil
}

// readEntries gives the hash of every record.
func readEntries(log string, head tlog.Tree) ([]tlog.Hash, error) {
	var leaves []tlog.Hash
	for first := int64(0); first < head.N; first += width {
		tile := tlog.Tile{H: height, L: -1, N: first / width, W: least(head.N - first)}
		bundle, err := readTile(log, tile)
		if err != nil {
			return nil, err
		}
		for entry := 0; entry < tile.W; entry++ {
			if len(bundle) < 2 || len(bundle) < 2+int(binary.BigEndian.Uint16(bundle)) {
				return nil, fmt.Errorf("record %d: %s: cut off", len(leaves), path(tile))
			}
			end := 2 + int(binary.BigEndian.Uint16(bundle))
			leaves = append(leaves, tlog.RecordHash(bundle[2:end]))
			bundle = bundle[end:]
		}
		if len(bundle) > 0 && tile.W == width {
			return nil, fmt.Errorf("%s: bytes after the last entry", path(tile))
		}
	}
	return leaves, nil
}

// checkTiles compares every hash of every tile with the records. TileHashReader would not do: in the version
// that Debian has it takes some tiles unproven where the tree's perfect parts share a tile.
func checkTiles(log string, hashes []tlog.Hash) error {
	for level := 0; len(hashes) > 0; level++ {
		var above []tlog.Hash
		for first := 0; first < len(hashes); first += width {
			tile := tlog.Tile{H: height, L: level, N: int64(first / width), W: least(int64(len(hashes) - first))}
			data, err := readTile(log, tile)
			if err != nil {
				return err
			}
			part := hashes[first : first+tile.W]
			for at, hash := range part {
				if bytes.Equal(data[at*tlog.HashSize:][:tlog.HashSize], hash[:]) {
					continue
				}
				if level == 0 {
					return fmt.Errorf("record %d: its hash is not the one in %s", first+at, path(tile))
				}
				return fmt.Errorf("%s: hash %d is not that of the tile below", path(tile), at)
			}
			if tile.W == width {
				above = append(above, fold(part))
			}
		}
		hashes = above
	}
	return nil
}

// fold gives the root of a power of two of hashes.
func fold(hashes []tlog.Hash) tlog.Hash {
	if len(hashes) == 1 {
		return hashes[0]
	}
	middle := len(hashes) / 2
	return tlog.NodeHash(fold(hashes[:middle]), fold(hashes[middle:]))
}

// checkRoot reads every hash of every level as a client of the log would, proven against the head.
func checkRoot(head tlog.Tree, hashes tlog.HashReader) error {
	for level := 0; head.N>>(height*level) > 0; level++ {
		count := head.N >> (height * level)
		for first := int64(0); first < count; first += width {
			var want []int64
			for at := first; at < count && at < first+width; at++ {
				want = append(want, tlog.StoredHashIndex(height*level, at))
			}
			if _, err := hashes.ReadHashes(want); err != nil {
				return fmt.Errorf("hashes from %d of level %d: %w", first, level, err)
			}
		}
	}
	root, err := tlog.TreeHash(head.N, hashes)
	if err == nil && head.N > 0 && root != head.Hash {
		err = fmt.Errorf("checkpoint: the tiles make the root %s", root)
	}
	return err
}

// checkInclusion proves some records: the first, the last, and a few in between.
func checkInclusion(head tlog.Tree, hashes tlog.HashReader, leaves []tlog.Hash) error {
	step := head.N/32 + 1
	for at := int64(0); at < head.N; at += step {
		for _, record := range []int64{at, head.N - 1 - at} {
			proof, err := tlog.ProveRecord(head.N, record, hashes)
			if err == nil {
				err = tlog.CheckRecord(proof, head.N, head.Hash, record, leaves[record])
			}
			if err != nil {
				return fmt.Errorf("record %d: %w", record, err)
			}
		}
	}
	return nil
}

// checkLeftovers compares the partial tiles that older checkpoints left behind with what they grew into.
func checkLeftovers(log string, head tlog.Tree) error {
	if head.N == 0 {
		return nil
	}
	return filepath.WalkDir(filepath.Join(log, "tile"), func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(log, file)
		if err != nil {
			return err
		}
		tile, err := parsePath(filepath.ToSlash(name))
		if err != nil {
			return fmt.Errorf("%s: not a tile's name", name)
		}
		level := tile.L
		if level < 0 {
			level = 0
		}
		if tile.N*width+int64(tile.W) > head.N>>(height*level) {
			return nil // Beyond the checkpoint.
		}
		part, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		grown := tile
		grown.W = least(head.N>>(height*level) - tile.N*width)
		whole, err := readTile(log, grown)
		if err != nil {
			return err
		}
		if !bytes.HasPrefix(whole, part) || tile.L >= 0 && len(part) != tile.W*tlog.HashSize {
			return fmt.Errorf("%s: not the beginning of %s", name, path(grown))
		}
		return nil
	})
}

func checkOld(old string, verifier note.Verifier, head tlog.Tree, hashes tlog.HashReader) error {
	if old == "" {
		return nil
	}
	before, err := readCheckpoint(old, verifier)
	if err != nil {
		return err
	}
	if before.N > head.N {
		return fmt.Errorf("%s: it is of %d records, the log has %d", old, before.N, head.N)
	}
	if before.N == 0 {
		return nil
	}
	proof, err := tlog.ProveTree(head.N, before.N, hashes)
	if err == nil {
		err = tlog.CheckTree(proof, head.N, head.Hash, before.N, before.Hash)
	}
	if err != nil {
		return fmt.Errorf("%s: inconsistent with the log: %w", old, err)
	}
	return nil
}

// reader gives tlog the tiles of a folder.
type reader struct {
	log   string
	cache map[string][]byte
}

func (r *reader) Height() int { return height }

func (r *reader) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range tiles {
		bytes, known := r.cache[path(tile)]
		if !known {
			var err error
			if bytes, err = readTile(r.log, tile); err != nil {
				return nil, err
			}
			r.cache[path(tile)] = bytes
		}
		all = append(all, bytes)
	}
	return all, nil
}

func (r *reader) SaveTiles([]tlog.Tile, [][]byte) {}

// readTile reads a tile; a full one stands in for a partial one that was cleared away.
func readTile(log string, tile tlog.Tile) ([]byte, error) {
	bytes, err := os.ReadFile(filepath.Join(log, path(tile)))
	if os.IsNotExist(err) && tile.W < width {
		full := tile
		full.W = width
		bytes, err = os.ReadFile(filepath.Join(log, path(full)))
	}
	if err != nil || tile.L < 0 {
		return bytes, err
	}
	if size := tile.W * tlog.HashSize; len(bytes) >= size {
		return bytes[:size], nil
	}
	return nil, fmt.Errorf("%s: cut off", path(tile))
}

// path is the name that C2SP tlog-tiles gives a tile: that of tlog without the height.
func path(tile tlog.Tile) string {
	name := strings.TrimPrefix(tile.Path(), "tile/8/")
	return "tile/" + strings.Replace(name, "data/", "entries/", 1)
}

// least is the width of the tile from which so many hashes or entries are left.
func least(rest int64) int {
	if rest > width {
		return width
	}
	return int(rest)
}

func parsePath(name string) (tlog.Tile, error) {
	name = strings.Replace(name, "tile/entries/", "tile/data/", 1)
	return tlog.ParseTilePath("tile/8/" + strings.TrimPrefix(name, "tile/"))
}
