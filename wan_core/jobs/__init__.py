"""From a request to its clip: accepted (`service`), kept (`store`), run in turn (`runner`), paid for (`budget`)."""
