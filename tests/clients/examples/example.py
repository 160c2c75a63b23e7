import fal_client

def on_queue_update(update):
    if isinstance(update, fal_client.InProgress):
        for log in update.logs:
           print(log["message"])

result = fal_client.subscribe(
    "fal-ai/wan/v2.2-a14b/image-to-video",
    arguments={
        "image_url": "https://storage.googleapis.com/falserverless/model_tests/wan/dragon-warrior.jpg",
        "prompt": "The white dragon warrior stands still, eyes full of determination and strength. The camera slowly moves closer or circles around the warrior, highlighting the powerful presence and heroic spirit of the character."
    },
    with_logs=True,
    on_queue_update=on_queue_update,
)
print(result)
