// An outside user of Penstock in another language: Apache Kafka's own Java client, and nothing of Penstock's.
//
//   java -cp 'libs/*' OutsideClient.java BOOTSTRAP produce TOPIC KEY < value
//       produces one message with acks=all and prints "PARTITION OFFSET"
//   java -cp 'libs/*' OutsideClient.java BOOTSTRAP consume TOPIC KEY COUNT
//       reads the topic as a read_committed member of a group until it has COUNT messages with that key, for at most 30 s,
//       and prints "PARTITION OFFSET CE_TYPE VALUE", a line for each
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

public class OutsideClient {
    static void produce(String bootstrap, String topic, String key) throws Exception {
        var value = new String(System.in.readAllBytes(), StandardCharsets.UTF_8);
        Map<String, Object> config = Map.of("bootstrap.servers", bootstrap, "acks", "all");
        try (var producer = new KafkaProducer<>(config, new StringSerializer(), new StringSerializer())) {
            var stored = producer.send(new ProducerRecord<>(topic, key, value)).get();
            System.out.println(stored.partition() + " " + stored.offset());
        }
    }

    static String header(ConsumerRecord<String, String> message, String name) {
        var header = message.headers().lastHeader(name);
        return header == null ? "-" : new String(header.value(), StandardCharsets.UTF_8);
    }

    static void consume(String bootstrap, String topic, String key, int count) {
        Map<String, Object> config = Map.of("bootstrap.servers", bootstrap, "group.id", "outside", "isolation.level",
            "read_committed", "auto.offset.reset", "earliest");
        var deadline = System.nanoTime() + Duration.ofSeconds(30).toNanos();
        try (var consumer = new KafkaConsumer<>(config, new StringDeserializer(), new StringDeserializer())) {
            consumer.subscribe(List.of(topic));
            for (int found = 0; found < count && System.nanoTime() < deadline;)
                for (var message : consumer.poll(Duration.ofMillis(100))) {
                    if (!key.equals(message.key())) continue;
                    System.out.println(message.partition() + " " + message.offset() + " " + header(message, "ce_type") + " "
                        + message.value());
                    found++;
                }
        }
    }

    public static void main(String[] args) throws Exception {
        if (args[1].equals("produce")) produce(args[0], args[2], args[3]);
        else if (args[1].equals("consume")) consume(args[0], args[2], args[3], Integer.parseInt(args[4]));
        else throw new IllegalArgumentException(args[1]);
    }
}
