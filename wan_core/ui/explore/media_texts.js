// The texts that programs leave in mp4, PNG, WebP and JPEG files, by their names. Reads slices of the file; sends nothing.
window.wanExplore ??= {};
(() => {
  const MOST_BYTES = 24 << 20;  // of one box or chunk
  const UTF8 = new TextDecoder(), LATIN = new TextDecoder('latin1');
  const name4 = (view, at) => String.fromCharCode(view.getUint8(at), view.getUint8(at + 1), view.getUint8(at + 2), view.getUint8(at + 3));

  async function viewOf(file, from, to) {
    return new DataView(await file.slice(from, Math.min(to, from + MOST_BYTES)).arrayBuffer());
  }
  const bytesOf = (view, from, to) => new Uint8Array(view.buffer, view.byteOffset + from, Math.max(0, Math.min(to, view.byteLength) - from));

  /** `{name: text}`; `{}` for a file of another kind. Broken files give what was read before the break. */
  async function textsIn(file) {
    const found = {}, head = await viewOf(file, 0, 16);
    if (head.byteLength < 12) return found;
    try {
      if (head.getUint32(0) === 0x89504E47) await readPng(file, found);
      else if (name4(head, 0) === 'RIFF' && name4(head, 8) === 'WEBP') await readWebp(file, found);
      else if (head.getUint16(0) === 0xFFD8) await readJpeg(file, found);
      else if (name4(head, 4) === 'ftyp') await readMp4(file, found);
    } catch (error) {
      if (!(error instanceof RangeError || error instanceof TypeError)) throw error;
    }
    return found;
  }

  // ---- mp4: moov/udta/meta and moov/meta; names are iTunes' four letters, or stand in a list of keys (ffmpeg's
  // use_metadata_tags)

  async function readMp4(file, found) {
    for (let at = 0; at + 8 <= file.size;) {
      const head = await viewOf(file, at, at + 16);
      if (head.byteLength < 8) return;
      let size = head.getUint32(0), from = at + 8;
      if (size === 1) { size = Number(head.getBigUint64(8)); from = at + 16; }
      if (size === 0) size = file.size - at;
      if (size < 8) return;
      if (name4(head, 4) === 'moov') return readBoxes(await viewOf(file, from, at + size), 0, Infinity, found, []);
      at += size;
    }
  }

  function* boxes(view, from, to) {
    const end = Math.min(to, view.byteLength);
    for (let at = from; at + 8 <= end;) {
      const size = view.getUint32(at);
      if (size < 8) return;
      yield {name: name4(view, at + 4), from: at + 8, to: Math.min(end, at + size), number: view.getUint32(at + 4)};
      at += size;
    }
  }

  function readBoxes(view, from, to, found) {
    for (const box of boxes(view, from, to)) {
      if (box.name === 'udta') readBoxes(view, box.from, box.to, found);
      if (box.name === 'meta') readMeta(view, name4(view, box.from + 4) === 'hdlr' ? box.from : box.from + 4, box.to, found);
    }
  }

  function readMeta(view, from, to, found) {
    const inside = [...boxes(view, from, to)], keys = inside.find(box => box.name === 'keys'), names = [];
    if (keys) for (const key of boxes(view, keys.from + 8, keys.to)) names.push(UTF8.decode(bytesOf(view, key.from, key.to)));
    for (const list of inside.filter(box => box.name === 'ilst')) {
      for (const item of boxes(view, list.from, list.to)) {
        for (const data of boxes(view, item.from, item.to)) {
          if (data.name !== 'data') continue;
          const name = names[item.number - 1] ?? (item.name === '\xA9cmt' ? 'comment' : item.name);
          found[name] = UTF8.decode(bytesOf(view, data.from + 8, data.to));
        }
      }
    }
  }

  // ---- PNG: tEXt, zTXt and iTXt; WebP and JPEG: Exif

  async function readPng(file, found) {
    for (let at = 8; at + 12 <= file.size;) {
      const head = await viewOf(file, at, at + 8), size = head.getUint32(0), kind = name4(head, 4);
      if (kind === 'IEND') return;
      if (['tEXt', 'zTXt', 'iTXt'].includes(kind)) await readPngText(kind, await viewOf(file, at + 8, at + 8 + size), found);
      at += size + 12;
    }
  }

  async function readPngText(kind, view, found) {
    const bytes = bytesOf(view, 0, view.byteLength), end = bytes.indexOf(0), name = LATIN.decode(bytes.subarray(0, end));
    if (kind === 'tEXt') found[name] = LATIN.decode(bytes.subarray(end + 1));
    if (kind === 'zTXt') found[name] = LATIN.decode(await inflate(bytes.subarray(end + 2)));
    if (kind !== 'iTXt') return;
    const language = bytes.indexOf(0, end + 3), title = bytes.indexOf(0, language + 1), text = bytes.subarray(title + 1);
    found[name] = UTF8.decode(bytes[end + 1] ? await inflate(text) : text);
  }

  async function inflate(bytes) {
    const reader = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate')).getReader(), parts = [];
    for (let size = 0; size < MOST_BYTES;) {  // a small chunk may unfold to gigabytes
      const {done, value} = await reader.read();
      if (done) break;
      parts.push(value);
      size += value.length;
    }
    return new Uint8Array(await new Blob(parts).arrayBuffer());
  }

  async function readWebp(file, found) {
    for (let at = 12; at + 8 <= file.size;) {
      const head = await viewOf(file, at, at + 8), size = head.getUint32(4, true);
      if (name4(head, 0) === 'EXIF') readExif(await viewOf(file, at + 8, at + 8 + size), found);
      at += 8 + size + size % 2;
    }
  }

  async function readJpeg(file, found) {
    for (let at = 2; at + 4 <= file.size;) {
      const head = await viewOf(file, at, at + 4), marker = head.getUint16(0), size = head.getUint16(2);
      if (marker === 0xFFDA || marker < 0xFFC0) return;
      if (marker === 0xFFE1) readExif(await viewOf(file, at + 4, at + 2 + size), found);
      at += 2 + size;
    }
  }

  const USER_COMMENT = 0x9286, EXIF_FOLDER = 0x8769, TEXT_TAGS = {0x010E: 'description', 0x010F: 'make', 0x0110: 'model'};

  function readExif(view, found) {
    if (view.byteLength > 6 && name4(view, 0) === 'Exif') view = new DataView(view.buffer, view.byteOffset + 6);
    const little = view.getUint16(0) === 0x4949;
    readFolder(view, view.getUint32(4, little), little, found, 2);
  }

  function readFolder(view, at, little, found, depth) {
    const count = view.getUint16(at, little);
    for (let entry = at + 2; entry < at + 2 + 12 * count; entry += 12) {
      const tag = view.getUint16(entry, little), size = view.getUint32(entry + 4, little);
      const from = size > 4 ? view.getUint32(entry + 8, little) : entry + 8;
      if (tag === EXIF_FOLDER && depth > 1) readFolder(view, view.getUint32(entry + 8, little), little, found, depth - 1);
      if (tag === USER_COMMENT) found.parameters = userComment(bytesOf(view, from, from + size), little);
      if (!TEXT_TAGS[tag]) continue;
      const text = UTF8.decode(bytesOf(view, from, from + size)).replace(/\0+$/, '');
      const [, name, rest] = /^(prompt|workflow|parameters):([^]*)$/i.exec(text) ?? [null, TEXT_TAGS[tag], text];  // ComfyUI's way
      found[name.toLowerCase()] = rest;
    }
  }

  function userComment(bytes, little) {
    const code = LATIN.decode(bytes.subarray(0, 7)), text = bytes.subarray(8);
    if (code !== 'UNICODE') return UTF8.decode(text).replace(/\0+$/, '');
    const bigEndian = text[0] === 0 || (!little && text[1] !== 0);  // A1111 writes big-endian whatever the file's order
    return new TextDecoder(bigEndian ? 'utf-16be' : 'utf-16le').decode(text);
  }

  wanExplore.textsIn = textsIn;
})();
