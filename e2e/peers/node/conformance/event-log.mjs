// Remembers what was sent on each stream, so that a client that lost its connection can have the rest.

export class EventLog {
  #events = [];

  async storeEvent(stream, message) {
    this.#events.push({ stream, message });
    return String(this.#events.length);
  }

  async getStreamIdForEventId(id) {
    return this.#events[Number(id) - 1]?.stream;
  }

  async replayEventsAfter(id, { send }) {
    const stream = await this.getStreamIdForEventId(id);
    for (const [index, event] of this.#events.entries()) {
      const replayable = index >= Number(id) && event.stream === stream && Object.keys(event.message).length > 0;
      if (replayable) await send(String(index + 1), event.message);
    }
    return stream ?? '';
  }
}
